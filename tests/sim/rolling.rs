//! A rehearsal of replicas that are restarted one after the other, with nothing said to their callers.

use std::collections::BTreeSet;
use std::time::Duration;

use rehearse::facts::{CallOutcome, NodeStarted, Outcome};
use rehearse::{
    CallRecord, Event, Family, Fault, FaultKind, Invariant, Load, Ms as _, Scenario, Swarm, Wants, What,
};

use crate::replicas::Tokens;
use crate::{checks, scenarios};

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
        scenarios::greetings(load),
        swarm.in_turn(PAUSE).only(&[Family::Drain, Family::Kill]),
        scenarios::ADMITTED,
    )
    .node("spare1", &["service1"], scenarios::app)
    .workers(1)
    .invariant(Away::default)
}

/// Which hosts are away. One is back when it says that it has started, for which a process needs some time.
#[derive(Debug, Default)]
struct Away {
    now: BTreeSet<String>,
    /// When the last one came back.
    back: Option<Duration>,
    /// Whether there was a time with nobody there. Plans that are drawn have none, but shrinking may try one.
    was_nobody_there: bool,
    /// Who goes before its caller has made many calls may take along more than are paid for.
    tokens: Tokens,
    met: u64,
}

impl Invariant for Away {
    fn name(&self) -> &str {
        "with another host there, a restart loses no call"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<NodeStarted>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let What::FaultBegins { fault, .. } = &event.what
            && takes_away(fault)
        {
            let is_back = self.back.is_none_or(|back| back + PAUSE <= event.at + TICK);
            self.was_nobody_there |= !self.now.is_empty() || !is_back;
            self.now.insert(fault.what.hosts().0.to_owned());
        }
        self.tokens.note(event, &[Outcome::Lost, Outcome::NotSent]);
        if event.told::<NodeStarted>().is_some() && self.now.remove(&*event.host) {
            self.back = Some(event.at);
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        if self.was_nobody_there || !self.tokens.has_paid(call) {
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
