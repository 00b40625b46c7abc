//! Rehearsals of clients that send streams: one answer to all of what they say, or one to each.

use std::collections::BTreeMap;
use std::time::Duration;

use probe_contract::{Played, Script, back};
use rehearse::facts::StreamMessage;
use rehearse::proptest::prelude::*;
use rehearse::{
    CLIENTS, CallRecord, Event, Expect, Family, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Wants,
    answer, drawn, matching, promises, requests,
};

use crate::{state, worlds};

/// What a healthy call may take: up to five messages, with their pauses.
const ENOUGH: Duration = Duration::from_millis(600);

/// The scenario of clients that send streams.
pub(crate) fn sending() -> sim::Scenario {
    drawn("sending", "clients send streams, over connections that break, to nodes that go", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let pause = Duration::from_millis(picks.pick("pause in ms", &[30, 0, 60]));
    let workers = picks.pick("workers", &[2, 1]);
    let swarm = Swarm::new(1..=3, 900.ms(), 50.ms()..=400.ms()).link(CLIENTS, "back").host("back").only(&[
        Family::Reset,
        Family::Partition,
        Family::PowerLoss,
        Family::Kill,
        Family::Pause,
        Family::SlowHandler,
        Family::PanickingHandler,
        Family::Drain,
    ]);
    Scenario::new("", "", load(pause), swarm)
        .stand_in(worlds::STAND_IN, worlds::IDLE_FOR_A_SECOND)
        .node("back", &["back"], worlds::app(1000.ms()))
        .workers(workers)
        .flags(&["--deadline", "2s"])
        .promises(promises::of_calls().enough(ENOUGH))
        .every_call("a stream of requests is answered as a whole", answered_as_a_whole)
        .invariant(Mirrored::default)
        .fold("a stream of requests that breaks off does not end well", state::requests_end_whole)
}

fn load(pause: Duration) -> Load {
    let scripts = (1..=5_u32, matching("[a-z]{4,8}")).prop_map(|(scenes, text)| {
        let script = |nth| Script { text: format!("{text}{nth}"), scenes, ..Script::default() };
        (1..=scenes).map(script).collect::<Vec<_>>()
    });
    Load::new(40, 900.ms(), 800.ms()..=1800.ms())
        .client_streaming::<back::Gather>(pause, scripts.clone(), Expect::ok())
        .bidi_streaming::<back::Mirror>(pause, scripts, Expect::ok())
}

fn answered_as_a_whole(call: &CallRecord) -> Result<(), String> {
    let Some(asked) = requests::<back::Gather>(call) else { return Ok(()) };
    let Some(played) = answer::<back::Gather>(call) else { return Ok(()) };
    let last = asked.last().ok_or("no stream is empty")?;
    let (text, scenes) = (last.text.to_uppercase(), asked.len());
    if played.text == text && played.scenes as usize == scenes {
        return Ok(());
    }
    Err(format!("{}: expected {text:?} for {scenes} messages, and it got {played:?}", call.request_id))
}

/// What each stream of requests that is answered one by one asks, and what came of it so far.
#[derive(Debug, Default)]
struct Mirrored {
    asked: BTreeMap<u32, Vec<Script>>,
    got: BTreeMap<u32, Vec<String>>,
    met: u64,
}

impl Invariant for Mirrored {
    fn name(&self) -> &str {
        "each message of a stream is answered, in its order"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<StreamMessage>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.asked.extend(requests::<back::Mirror>(call).map(|asked| (call.request.id, asked)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let (Some(request), Some(message)) = (event.request, event.told::<StreamMessage>()) else {
            return Ok(());
        };
        let Some(asked) = self.asked.get(&request) else { return Ok(()) };
        let played: Played = serde_json::from_str(&message.json).map_err(|error| error.to_string())?;
        let got = self.got.entry(request).or_default();
        got.push(played.text);
        match asked.get(got.len() - 1) {
            Some(script) if got.last() == Some(&script.text.to_uppercase()) => Ok(()),
            expected => Err(format!("{event}: expected the answer to {expected:?}")),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&call.request.id) else { return Ok(()) };
        let got = self.got.remove(&call.request.id).unwrap_or_default().len();
        // What its deadline ends may have no answer, or not all.
        let is_late = call.ended.is_some_and(|ended| ended + 100.ms() >= call.due());
        if is_late || !call.reply.as_ref().is_some_and(rehearse::Reply::is_ok) {
            return Ok(());
        }
        self.met += 1;
        match got == asked.len() {
            true => Ok(()),
            false => Err(format!("{} has worked, and got {got} of {} answers", call.request_id, asked.len())),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
