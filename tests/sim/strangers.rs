//! Rehearsals with clients beside the ordinary ones that speak as no library does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rehearse::facts::{GaugesRead, HandlerBegun};
use rehearse::strangers::Stranger;
use rehearse::{CallRecord, Event, Family, Load, Ms as _, Picks, Scenario, Swarm, drawn, promises};
use transport::gauges::Gauge;

use crate::visits::{self, BODY_MAX, DEADLINE};
use crate::{checks, scenarios, worlds};

/// What a worker holds in messages at most: so many of the hungry get a part of it, and all others have room beside.
const BUFFERED: &str = "1048576";
const HUNGRY: usize = 3;

/// The scenario of clients that speak as no library does.
pub(crate) fn strangers() -> sim::Scenario {
    drawn("strangers", "clients come that speak as no library does, byte by byte", world)
}

/// The scenario of clients that begin calls and do not say what they want.
pub(crate) fn unsaid() -> sim::Scenario {
    drawn(
        "unsaid",
        "clients begin as many calls as a node takes on, and do not say what they want",
        unsaid_world,
    )
}

fn unsaid_world(picks: &mut Picks<'_>) -> Scenario {
    // However many permits the ordinary clients have, one of these has two of the others.
    let visits = picks.pick("visits", &[3, 1, 5]);
    let load = Load::new(30, 2000.ms(), 400.ms()..=800.ms()).in_flight_max(6);
    let load = scenarios::greetings(load).strangers(visits, 1000.ms(), visits::unsaid());
    Scenario::new("", "", load, Swarm::calm())
        .node("edge", &["service2"], worlds::app(1000.ms()))
        .node("inner", &["service1"], worlds::app(1000.ms()))
        .workers(picks.pick("workers", &[1, 2]))
        .flags(&["--deadline", "2s", "--max-calls", &visits::CALLS_MAX.to_string()])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("who says what it wants finds room", finds_room)
}

fn finds_room(call: &CallRecord) -> Result<(), String> {
    match &call.reply {
        Some(reply) if reply.status == "RESOURCE_EXHAUSTED" => {
            let most = visits::CALLS_MAX;
            Err(format!(
                "{} was refused as one too many; expected that one of the {most} calls gives way that have not come as a whole",
                call.request_id
            ))
        }
        _ => checks::works(call),
    }
}

/// The scenario of clients that say a head in halves and stay: what half a head counts for is given back when it is whole.
pub(crate) fn halves() -> Scenario {
    let load = Load::new(4, 500.ms(), 400.ms()..=800.ms());
    let load = scenarios::greetings(load).strangers(8, 1000.ms(), visits::in_halves());
    let about = "clients say heads in halves, and stay: what counted for a half counts no longer";
    Scenario::new("halves", about, load, Swarm::calm())
        .nodes(&["service2", "service1"], scenarios::app)
        .workers(1)
        .gauges_every(400.ms())
        .recovers_within(60_000.ms())
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("what is held for nobody's call is held no longer than a head may take", held_in_time)
}

/// Since when each host has held something while there was no call.
type HeldSince = BTreeMap<Arc<str>, Duration>;

fn held_in_time(since: &mut HeldSince, event: &Event) -> Result<(), String> {
    let Some(GaugesRead(reading)) = event.told() else { return Ok(()) };
    let held = reading.sum(Gauge::BufferedBytes);
    if held == 0 || reading.sum(Gauge::CallsInFlight) > 0 {
        since.remove(&event.host);
        return Ok(());
    }
    let since = *since.entry(event.host.clone()).or_insert(event.at);
    match event.at.saturating_sub(since) > visits::PATIENCE {
        true => Err(format!(
            "{} holds {held} bytes since {} ms, and there is no call",
            event.host,
            since.as_millis()
        )),
        false => Ok(()),
    }
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let all = ["the quick", "the slow", "the silent", "those who are to leave", "the hungry"];
    let who = picks.pick("who comes", &all);
    // Calls go on where connections end that are idle: else one of an ordinary client would be used as it ends.
    let (visitors, come_over, calls_over): (Vec<Stranger>, Duration, Duration) = match who {
        "the slow" => (visits::slow(), 2000.ms(), 2000.ms()),
        "the silent" => (visits::silent(), 2000.ms(), 70_000.ms()),
        "those who are to leave" => (visits::in_a_drain(), 700.ms(), 700.ms()),
        "the hungry" => (visits::hungry(), 2000.ms(), 2000.ms()),
        _ => (visits::quick(), 2000.ms(), 2000.ms()),
    };
    let is_drained = who == "those who are to leave";
    let swarm = match is_drained {
        // For longer than connections linger.
        true => Swarm::new(1..=1, 500.ms(), 2500.ms()..=3500.ms()).host("edge").only(&[Family::Drain]),
        false => Swarm::calm(),
    };
    let visits = if who == "the hungry" { HUNGRY } else { picks.pick("visits", &[24, 6, 60]) };
    let load = Load::new(20, calls_over, 400.ms()..=800.ms()).strangers(visits, come_over, visitors);
    let scenario = Scenario::new("", "", scenarios::greetings(load), swarm)
        .node("edge", &["service2", "back", "ledger"], worlds::app(1000.ms()))
        .node("inner", &["service1"], worlds::app(1000.ms()))
        .stand_in(worlds::STAND_IN, worlds::IDLE_FOR_A_SECOND)
        .workers(picks.pick("workers", &[2, 1]))
        .flags(&["--deadline", &format!("{}ms", DEADLINE.as_millis())])
        .flags(&["--max-message-size", &BODY_MAX.to_string(), "--max-buffered", BUFFERED])
        .recovers_within(20_000.ms())
        .promises(promises::of_calls())
        .invariant(checks::LinesNameTheirCallers::default)
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("what was taken back before it was read is not handled", taken_back);
    match is_drained {
        true => scenario,
        false => scenario.every_call("whoever else comes, every call works", checks::works),
    }
}

/// A call that was reset together with its message is none.
fn taken_back(_: &mut (), event: &Event) -> Result<(), String> {
    match event.told::<HandlerBegun>() {
        Some(begun) if begun.path == visits::TAKEN_BACK => Err(format!("nobody waits for it: {event}")),
        _ => Ok(()),
    }
}
