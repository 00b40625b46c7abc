//! Rehearsals of calls that come one after the other, to nodes that have room for one: what a call leaves behind is missed by
//! the next, also where no gauge shows it.

use std::collections::BTreeMap;

use probe_contract::{Manner, Script, back, front};
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Code, Expect, Invariant, Load, Ms as _, Picks, Reply, Scenario, Swarm, Via, Wants, drawn,
    matching, promises, request,
};

use crate::{scripts, terms, worlds};

/// How large a message may be, and how much a node may hold for clients: as little as it can be told to.
const SIZE_MAX: u32 = 65_536;
const BUFFERED: u32 = 4 * SIZE_MAX;

/// Streams of so many messages of so many bytes: each message is small, and all of them are more than a node holds for one
/// client.
const SCENES: u32 = 110;
const SCENE_BYTES: u32 = 900;

/// A request and an answer of so many bytes each are more than a node holds for one client, who is refused that, and no call after
/// it.
const TOO_MANY: u32 = 55_000;

/// The scenario of calls that are alone.
pub(crate) fn alone() -> sim::Scenario {
    drawn("alone", "calls come one after the other, to nodes that have room for one", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let bytes = picks.pick("bytes", &[20_000, 0, 40_000, TOO_MANY]);
    // Who asks whether a node serves takes no place of others.
    let policy = format!("max-in-flight=1;health-check={}", picks.pick("health-check", &[false, true]));
    let (scenes, bytes) = match picks.pick("many messages", &[false, true]) {
        true => (SCENES, SCENE_BYTES),
        false => (1, bytes),
    };
    let load = Load::new(45, 400.ms(), 1500.ms()..=2000.ms()).in_flight_max(1);
    // What a service asks over memory asks another one over the wire, or what is asked over the wire asks over memory.
    let is_memory_first = picks.pick("front is beside middle", &[false, true]);
    let nodes: [(&str, &[&str]); 2] = match is_memory_first {
        true => [("edge", &["front", "middle"]), ("inner", &["back"])],
        false => [("edge", &["front"]), ("inner", &["middle", "back"])],
    };
    let over_the_wire = if is_memory_first { 2 } else { 1 };
    worlds::hosted(Scenario::new("", "", plays(load, scenes, bytes), Swarm::calm()), &nodes)
        .workers(1)
        .flags(&["--max-calls", "1", "--max-streams", "1", "--deadline", "2s"])
        .flags(&["--max-message-size", &SIZE_MAX.to_string(), "--max-buffered", &BUFFERED.to_string()])
        .flags(&["--policy", &policy, "--max-idempotency-bytes", &(BUFFERED * 8).to_string()])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", |call| scripts::as_the_script_says(call, SIZE_MAX))
        .invariant(FindsRoom::default)
        .every_call("who asks for too much is refused", move |call| refused(call, over_the_wire))
}

/// Back has a request and its answer at once where both are streams; a node has its own request while an answer to it comes
/// over the wire, so many hops away.
fn refused(call: &CallRecord, over_the_wire: u32) -> Result<(), String> {
    let Some(script) = request::<front::Play>(call) else { return Ok(()) };
    let is_too_much = match script.manner() {
        Manner::Mirror => script.hops == 1,
        Manner::Ask => script.hops >= over_the_wire,
        _ => false,
    };
    let is_too_much = is_too_much && script.request_bytes == TOO_MANY;
    if is_too_much && call.reply.as_ref().is_some_and(Reply::is_ok) {
        return Err(format!(
            "{} worked, and a node has held twice {TOO_MANY} bytes for it; expected that it is refused, for a node holds {BUFFERED} \
             at most, and not as much as that for one client",
            call.request_id
        ));
    }
    Ok(())
}

fn plays(load: Load, scenes: u32, bytes: u32) -> Load {
    // What is sent with pauses between messages; all of them at once are more than there may be.
    let manners = match scenes {
        1 => vec![Manner::Ask, Manner::Show, Manner::Gather, Manner::Mirror],
        _ => vec![Manner::Show],
    };
    let manners = prop::sample::select(manners);
    let sizes = if bytes == TOO_MANY { vec![0, TOO_MANY] } else { vec![bytes] };
    let scripts = (matching("[a-z]{4,8}"), 0..=2_u32, manners, prop::sample::select(sizes));
    let scripts = scripts.prop_map(move |(text, hops, manner, bytes)| Script {
        text,
        hops,
        manner: manner.into(),
        scenes,
        pause_ms: 1,
        request_bytes: bytes,
        answer_bytes: bytes,
        ..Script::default()
    });
    let pad = |script: &mut Script, _| terms::padded(script);
    // Probes find room or not, as they come.
    let right = || Expect::ok().or(Code::ResourceExhausted);
    load.rpc_with_id::<front::Play>(Via::Rest, scripts.clone(), right(), pad)
        .rpc_with_id::<front::Play>(Via::Grpc, scripts.clone(), right(), pad)
        .rpc_with_id::<back::Play>(Via::Grpc, scripts, right(), pad)
}

/// A call beside which there is no other finds room. Probes are made together.
#[derive(Debug, Default)]
struct FindsRoom {
    /// The calls that are made, and whether there was another beside each.
    open: BTreeMap<u32, bool>,
    met: u64,
}

impl Invariant for FindsRoom {
    fn name(&self) -> &str {
        "a call that is alone finds room"
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let has_others = !self.open.is_empty();
        self.open.values_mut().for_each(|had_others| *had_others = true);
        self.open.insert(call.request.id, has_others);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        if self.open.remove(&call.request.id) != Some(false) {
            return Ok(());
        }
        self.met += 1;
        let is_ok = call.reply.as_ref().is_some_and(Reply::is_ok);
        let is_too_large = scripts::script(call).is_some_and(|script| script.request_bytes == TOO_MANY);
        let got = call.reply.as_ref().map_or("nothing", |reply| &reply.value);
        if is_ok || is_too_large {
            return Ok(());
        }
        Err(format!(
            "{} was the only call that there was, and got {got:?}; expected its answer, since all others have ended",
            call.request_id
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
