//! A rehearsal of replicas that are restarted one after the other, with nothing said to their callers.

use std::time::Duration;

use crate::{checks, scenarios};
use rehearse::{
    CallRecord, Event, Family, Fault, FaultKind, Invariant, Load, Ms as _, Scenario, Swarm, Via, What,
};

/// The least time between the return of one host and the end of the other: for a connection to be made.
const PAUSE: Duration = Duration::from_millis(100);

/// A fault that ends within a tick is told at its end.
const TICK: Duration = Duration::from_millis(10);

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
    .invariant(Away::default)
}

/// Which hosts are away.
#[derive(Debug, Default)]
struct Away {
    now: usize,
    /// When the last one came back.
    back: Option<Duration>,
    /// Whether there was a time with nobody there. Plans that are drawn have none, but shrinking may try one.
    was_nobody_there: bool,
    met: u64,
}

impl Invariant for Away {
    fn name(&self) -> &str {
        "with another host there, a restart loses no call"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::FaultBegins { fault, .. } if takes_away(fault) => {
                let is_back = self.back.is_none_or(|back| back + PAUSE <= event.at + TICK);
                self.was_nobody_there |= self.now > 0 || !is_back;
                self.now += 1;
            }
            What::FaultEnds { fault, .. } if takes_away(fault) => {
                self.now -= 1;
                self.back = Some(event.at);
            }
            _ => {}
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        if self.was_nobody_there {
            return Ok(());
        }
        self.met += 1;
        checks::works(call)
    }

    fn met(&self) -> u64 {
        self.met
    }
}

fn takes_away(fault: &Fault) -> bool {
    matches!(fault.what, FaultKind::Drain { .. } | FaultKind::Kill { .. })
}
