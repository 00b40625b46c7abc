//! Rehearsals of a callee that lets a connection carry few calls: its callers open more, and no call waits for another.

use std::collections::BTreeSet;
use std::time::Duration;

use rehearse::facts::{Connection, ConnectionStep};
use rehearse::{
    CallRecord, Event, Family, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Wants, What, drawn, promises,
};

use crate::{checks, foreign, scenarios};

/// How long the callee takes for a call.
const TAKES: Duration = Duration::from_millis(600);

/// What a call takes besides: ways to two hosts and back, and the making of a connection for each call that came with it, one
/// after another, over each of which it may have to be said that its host serves. Less than if it waited for another call.
const WAYS: Duration = Duration::from_millis(500);

/// How many calls there are at once: no more than ten connections carry of one call each.
const AT_ONCE: usize = 8;

/// The scenario of a callee that takes few calls at a time on each connection.
pub(crate) fn lines() -> sim::Scenario {
    let about = "service1 lets a connection carry few calls: its callers open more, and no call waits";
    drawn("lines", about, world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let most = picks.pick("calls at a time", &[1, 2, 3]);
    let load = Load::new(40, 3000.ms(), 1500.ms()..=2500.ms()).in_flight_max(AT_ONCE);
    let load = load.bursts(picks.pick("bursts", &[4, 1]));
    // Whoever asks whether it serves has a stream less for calls.
    let service1 = foreign::service1().takes(TAKES).streams_max(most);
    let (service1, policy) = match picks.pick("health-check", &[false, true]) {
        true => (service1.rests(foreign::RESTS), "health-check=true"),
        false => (service1, "health-check=false"),
    };
    Scenario::new("lines", "", scenarios::greetings(load), Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", service1)
        .workers(1)
        .flags(&["--deadline", "2s", "--policy", policy])
        .promises(promises::of_calls().enough(1200.ms()))
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("no call waits for another one where more connections may be", goes_at_once)
}

fn goes_at_once(call: &CallRecord) -> Result<(), String> {
    let took = call.ended.map(|ended| ended.saturating_sub(call.started)).unwrap_or_default();
    if took <= TAKES + WAYS {
        return Ok(());
    }
    Err(format!(
        "{} took {} ms; expected {} at most, since service1 takes {} ms for a call and has no bound but that of a connection",
        call.request_id,
        took.as_millis(),
        (TAKES + WAYS).as_millis(),
        TAKES.as_millis()
    ))
}

/// How many connections there are to an address at most.
const LINES_MAX: usize = 10;

/// How many connections a callee has that has few.
const FEW: usize = 4;

/// How many calls there are at once, and how long the callee takes for each.
const CROWD: usize = LINES_MAX + 4;
const LONG: Duration = Duration::from_millis(2500);

/// The scenario of a callee that takes one call at a time on each connection, and takes long for it: more calls come than there
/// may be connections, or than it has.
pub(crate) fn crowded() -> sim::Scenario {
    let about =
        "service1 lets a connection carry one call, which takes long: there are ten connections at most";
    drawn("crowded", about, crowd)
}

fn crowd(picks: &mut Picks<'_>) -> Scenario {
    let most = picks.pick("connections", &[LINES_MAX, FEW]);
    let load = Load::new(50, 6000.ms(), 12_000.ms()..=15_000.ms()).in_flight_max(CROWD).bursts(6);
    Scenario::new("crowded", "", scenarios::greetings(load), Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", foreign::service1().takes(LONG).streams_max(1).connections_max(most))
        .workers(1)
        // No second attempt makes up for a connection that could not be made.
        .flags(&["--deadline", "15s", "--policy", "attempts=1"])
        .promises(promises::of_calls().enough(12_000.ms()))
        .recovers_within(30_000.ms())
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("a call works where a connection will have room", checks::works)
        .every_call("who waits for room has its turn", move |call| has_its_turn(call, most))
        .fold("there are ten connections to an address at most", ten_at_most)
}

/// The scenario of a callee with little room that dies while more calls wait for that than it has: they learn so, all of them, though
/// no other call comes.
pub(crate) fn emptied() -> Scenario {
    let load =
        Load::new(CROWD, 100.ms(), 14_000.ms()..=15_000.ms()).in_flight_max(CROWD).bursts(CROWD as u64);
    let swarm = Swarm::new(1..=1, 1500.ms(), 4000.ms()..=6000.ms()).host("service1").only(&[Family::Kill]);
    let service1 = foreign::service1().takes(LONG).streams_max(1).connections_max(2);
    let about = "service1 has room for two calls, and dies while many wait for that: all learn so";
    Scenario::new("emptied", about, scenarios::greetings(load), swarm)
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", service1)
        .workers(1)
        .flags(&["--deadline", "15s", "--policy", "attempts=1"])
        // Each of the connections has a backoff of its own, and nobody tells them apart.
        .promises(promises::of_calls().except(promises::BACKOFF_IS_KEPT).enough(12_000.ms()))
        .recovers_within(30_000.ms())
        .every_call("every reply belongs to its request", checks::right_value)
        .invariant(LearnsSo::default)
}

/// Ways there and back, for one after the other of those who wait.
const SOON: Duration = Duration::from_millis(800);

/// Who waits for a callee that dies is told so, and not only when somebody else comes.
#[derive(Debug, Default)]
struct LearnsSo {
    died: Option<Duration>,
    met: u64,
}

impl Invariant for LearnsSo {
    fn name(&self) -> &str {
        "who waits for room learns that there is none"
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let What::FaultBegins { .. } = &event.what {
            self.died = Some(event.at);
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some((died, ended)) = self.died.zip(call.ended).filter(|(died, _)| call.started < *died) else {
            return Ok(());
        };
        self.met += 1;
        if ended <= died + SOON {
            return Ok(());
        }
        Err(format!(
            "{} has waited for service1 until {} ms, which died at {} ms; expected that it is told until {} ms",
            call.request_id,
            ended.as_millis(),
            died.as_millis(),
            (died + SOON).as_millis()
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A call waits for those that came before it, and for no other.
fn has_its_turn(call: &CallRecord, connections: usize) -> Result<(), String> {
    let rounds = u32::try_from(CROWD.div_ceil(connections)).expect("it fits");
    let took = call.ended.map(|ended| ended.saturating_sub(call.started)).unwrap_or_default();
    if took <= LONG * rounds + WAYS {
        return Ok(());
    }
    Err(format!(
        "{} took {} ms; expected {} at most, for of {CROWD} calls {connections} go at a time",
        call.request_id,
        took.as_millis(),
        (LONG * rounds + WAYS).as_millis()
    ))
}

fn ten_at_most(open: &mut BTreeSet<u32>, event: &Event) -> Result<(), String> {
    match event.told() {
        Some(Connection { attempt, step: ConnectionStep::Connected, .. }) => drop(open.insert(*attempt)),
        Some(Connection { attempt, step: ConnectionStep::Closed { .. }, .. }) => drop(open.remove(attempt)),
        _ => {}
    }
    match open.len() <= LINES_MAX {
        true => Ok(()),
        false => Err(format!("{} are open: {event}", open.len())),
    }
}
