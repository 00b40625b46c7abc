//! A rehearsal of replicas that are restarted one after the other, with nothing said to their callers.

use std::time::Duration;

use rehearse::{Event, Family, Fault, FaultKind, Load, Ms as _, Scenario, Swarm, Via, What};
use sim::CallStep;

use crate::scenarios;

/// The least time between the return of one host and the end of the other: for a connection to be made.
const PAUSE: Duration = Duration::from_millis(100);

/// The scenario of a rolling restart. A callee that could not be reached is left alone for 800 ms at least: longer than a host
/// is away.
pub(crate) fn rolling() -> Scenario {
    let swarm = Swarm::new(2..=5, 500.ms(), 150.ms()..=700.ms()).host("service1").host("spare1");
    let load = Load::new(80, 3000.ms(), 300.ms()..=800.ms());
    scenarios::two_nodes(
        "rolling",
        "each of two hosts of service1 is restarted when the other is back: no call is lost",
        scenarios::hello(scenarios::hello(load, Via::Rest), Via::Grpc),
        swarm.in_turn(PAUSE).only(&[Family::Drain, Family::Kill]),
        scenarios::ADMITTED,
    )
    .node("spare1", &["service1"], scenarios::app)
    .workers(1)
    .fold("with another host there, a restart loses no call", no_call_is_lost)
}

/// Which hosts are away.
#[derive(Debug, Default)]
struct Away {
    now: usize,
    /// When the last one came back.
    back: Option<Duration>,
    /// Whether there was a time with nobody there. Plans that are drawn have none, but shrinking may try one.
    was_nobody_there: bool,
}

fn no_call_is_lost(away: &mut Away, event: &Event) -> Result<(), String> {
    match &event.what {
        What::FaultBegins { fault, .. } if takes_away(fault) => {
            let is_back = away.back.is_none_or(|back| back + PAUSE <= event.at);
            away.was_nobody_there |= away.now > 0 || !is_back;
            away.now += 1;
        }
        What::FaultEnds { fault, .. } if takes_away(fault) => {
            away.now -= 1;
            away.back = Some(event.at);
        }
        What::Call(CallStep::Ends { status, .. }) if status == "UNAVAILABLE" && !away.was_nobody_there => {
            return Err(format!("a call failed, and one of two hosts was there all the time: {event}"));
        }
        _ => {}
    }
    Ok(())
}

fn takes_away(fault: &Fault) -> bool {
    matches!(fault.what, FaultKind::Drain { .. } | FaultKind::Kill { .. })
}
