//! Rehearsals of clients that send streams: one answer to all of what they say, or one to each.

use std::time::Duration;

use probe_contract::{Played, Script, back};
use rehearse::proptest::prelude::*;
use rehearse::{
    CLIENTS, CallRecord, Expect, Family, Load, Ms as _, Picks, Scenario, Swarm, answer, drawn, matching,
    promises, requests,
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
    let gathered = requests::<back::Gather>(call).zip(answer::<back::Gather>(call));
    let mirrored = requests::<back::Mirror>(call).zip(last_of(call));
    // What its deadline ends may have no answer, or not all.
    let is_late = call.ended.is_some_and(|ended| ended + 100.ms() >= call.due());
    let Some((asked, played)) = gathered.or(mirrored.filter(|_| !is_late)) else { return Ok(()) };
    let last = asked.last().ok_or("no stream is empty")?;
    let (text, scenes) = (last.text.to_uppercase(), asked.len());
    let counts = requests::<back::Gather>(call).is_some();
    if played.text == text && (!counts || played.scenes as usize == scenes) {
        return Ok(());
    }
    Err(format!("{}: expected {text:?} for {scenes} messages, and it got {played:?}", call.request_id))
}

/// The last message of a stream that has worked.
fn last_of(call: &CallRecord) -> Option<Played> {
    let reply = call.reply.as_ref().filter(|reply| reply.is_ok())?;
    serde_json::from_str(&reply.value).ok()
}
