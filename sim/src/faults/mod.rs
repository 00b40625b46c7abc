//! Makes the faults of a plan happen, at their virtual times.
//!
//! Two things are modelled rather than left to turmoil. turmoil never sends a lost segment again, so one lost segment
//! would stop a connection for good; under TCP it is only late (see [`links`]). And turmoil closes the sockets of a
//! crashed host, which is what the death of a process looks like; at a power loss nobody is told (see [`machines`]).

pub(crate) mod links;
mod machines;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::{Family, FaultKind, Plan};
use crate::trace::recorder::{self, Status};
use links::Links;

/// Linux' first retransmission timeout on a fast link (RFC 6298 with the usual floor of 200 ms).
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);

/// What is still to happen, and when.
#[derive(Debug)]
pub(crate) struct Timeline {
    due: BTreeMap<(Duration, usize), Action>,
    next: usize,
    links: Links,
    /// The longest time after a partition until lost segments are sent again.
    lag_max: Duration,
    seed: u64,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Begin(usize),
    End(usize),
    /// Held segments of a link are sent again.
    SendAgain(usize, usize),
}

impl Timeline {
    /// The faults of `plan`. Segments that a partition swallowed are sent again within `lag_max` after it.
    pub(crate) fn new(plan: &Plan, lag_max: Duration) -> Self {
        let links = Links::new(plan.network.latency_min, plan.network.latency_max);
        let mut timeline = Self { due: BTreeMap::new(), next: 0, links, lag_max, seed: plan.seed };
        for (number, fault) in plan.faults.iter().enumerate() {
            timeline.at(fault.from, Action::Begin(number));
            timeline.at(fault.until(), Action::End(number));
        }
        timeline
    }

    /// Does to the simulated network what is due at `now`.
    pub(crate) fn apply(&mut self, sim: &mut turmoil::Sim<'_>, now: Duration) {
        while let Some(action) = self.pop(now) {
            match action {
                Action::Begin(number) => self.begin(sim, number),
                Action::End(number) => self.end(sim, number, now),
                Action::SendAgain(a, b) => self.links.send_again(sim, a, b),
            }
        }
        self.links.pass_free_directions(sim);
    }

    fn at(&mut self, when: Duration, action: Action) {
        self.next += 1;
        self.due.insert((when, self.next), action);
    }

    fn pop(&mut self, now: Duration) -> Option<Action> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn begin(&mut self, sim: &mut turmoil::Sim<'_>, number: usize) {
        let (what, a, b) = recorder::with(|recorder| recorder.switch(number, true));
        match what {
            FaultKind::Reset { .. } => machines::reset(a, b.expect("a reset is on a link")),
            FaultKind::PowerLoss { .. } => {
                machines::stop(sim, &self.links, a, Status::Dark);
                machines::lose_what_was_not_synced(a, number, self.seed);
            }
            FaultKind::Kill { .. } => machines::stop(sim, &self.links, a, Status::Stopped),
            FaultKind::Drain { .. } => machines::shared(a).tell_to_drain(),
            FaultKind::Pause { .. } => machines::shared(a).pause(true),
            FaultKind::FailingDisk { fails, .. } => machines::shared(a).disks().set_failing(Some(fails)),
            _ => {}
        }
        self.links.set_all(sim, Duration::ZERO);
    }

    fn end(&mut self, sim: &mut turmoil::Sim<'_>, number: usize, now: Duration) {
        let (what, a, _) = recorder::with(|recorder| recorder.switch(number, false));
        let mut lag = Duration::ZERO;
        match what {
            FaultKind::PowerLoss { .. } | FaultKind::Kill { .. } | FaultKind::Drain { .. } => {
                machines::start(sim, &self.links, a);
            }
            FaultKind::Pause { .. } => machines::shared(a).pause(machines::is_in_force(Family::Pause, a)),
            FaultKind::FailingDisk { .. } => machines::repair_disks(a),
            FaultKind::Partition { .. } | FaultKind::PartitionOneWay { .. } => {
                let from = recorder::with(|recorder| recorder.in_force.get(number).fault.from);
                lag = retransmission_lag(now - from).min(self.lag_max);
            }
            _ => {}
        }
        for (a, b) in self.links.set_all(sim, lag) {
            self.at(now + lag, Action::SendAgain(a, b));
        }
    }
}

/// How long after a partition has healed a sender tries again: its timeouts double from the first loss on.
pub(crate) fn retransmission_lag(lasted: Duration) -> Duration {
    let mut timeout = RETRANSMISSION_TIMEOUT;
    let mut tried_at = timeout;
    while tried_at < lasted {
        timeout *= 2;
        tried_at += timeout;
    }
    tried_at - lasted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_tries_again_after_doubling_pauses() {
        let lag = |lasted| retransmission_lag(Duration::from_millis(lasted)).as_millis();
        assert_eq!([lag(0), lag(200), lag(201), lag(600), lag(700), lag(1400)], [200, 0, 399, 0, 700, 0]);
    }
}
