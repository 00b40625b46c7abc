//! Makes the faults of a plan happen to processes and to the links between them, at their times.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hosts::Hosts;
use crate::faults::retransmission_lag;
use crate::plan::{Family, FaultKind, Plan};
use crate::tempo::Tempo;
use crate::trace::recorder;

/// Whether a fault of this family can be done to a process from outside. The others are clocks that only a simulated
/// machine has, its disks, names of a simulated network, and what only a rehearsed handler or server asks for.
pub(super) fn is_of_processes(family: Family) -> bool {
    match family {
        Family::Partition
        | Family::PartitionOneWay
        | Family::Hold
        | Family::SlowLink
        | Family::Reset
        | Family::PowerLoss
        | Family::Kill
        | Family::Pause
        | Family::Drain => true,
        Family::ClockSkew
        | Family::ClockDrift
        | Family::ClockJump
        | Family::SlowHandler
        | Family::PanickingHandler
        | Family::FullService
        | Family::RefusedStreams
        | Family::Unlisted
        | Family::SilentName
        | Family::FailingDisk => false,
    }
}

/// What is still to happen, and when.
#[derive(Debug)]
pub(super) struct Timeline {
    due: BTreeMap<(Duration, usize), Action>,
    /// The longest time after a partition until lost segments are sent again.
    lag_max: Duration,
    tempo: Tempo,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Begin(usize),
    End(usize),
}

impl Timeline {
    pub(super) fn new(plan: &Plan, lag_max: Duration, tempo: Tempo) -> Self {
        let faults = plan.faults.iter().enumerate();
        let actions = faults.flat_map(|(number, fault)| {
            [(fault.from, Action::Begin(number)), (fault.until(), Action::End(number))]
        });
        let due = (0..).zip(actions).map(|(order, (at, action))| ((at, order), action)).collect();
        Self { due, lag_max, tempo }
    }

    /// Whether nothing is left to happen.
    pub(super) fn is_over(&self) -> bool {
        self.due.is_empty()
    }

    /// Does what is due at `now`.
    pub(super) fn apply(&mut self, hosts: &Hosts<'_>, now: Duration) {
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) {
            match first.remove() {
                Action::Begin(number) => begin(hosts, number),
                Action::End(number) => self.end(hosts, number),
            }
            hosts.links.note_change();
        }
    }

    fn end(&self, hosts: &Hosts<'_>, number: usize) {
        let (what, a, b) = recorder::with(|recorder| recorder.switch(number, false));
        match what {
            FaultKind::PowerLoss { .. } | FaultKind::Kill { .. } | FaultKind::Drain { .. } => {
                hosts.start_again(a);
            }
            FaultKind::Pause { .. } => hosts.pause_as_told(a),
            FaultKind::Partition { .. } | FaultKind::PartitionOneWay { .. } => {
                let lasted = recorder::with(|recorder| recorder.in_force.get(number).fault.lasts);
                let lag = retransmission_lag(lasted).min(self.lag_max);
                hosts.links.heal(a, b.expect("a partition is on a link"), self.tempo.stretched(lag));
            }
            _ => {}
        }
    }
}

fn begin(hosts: &Hosts<'_>, number: usize) {
    let (what, a, b) = recorder::with(|recorder| recorder.switch(number, true));
    match what {
        FaultKind::Reset { .. } => hosts.links.reset(a, b.expect("a reset is on a link")),
        FaultKind::PowerLoss { .. } => hosts.lose_power(a),
        FaultKind::Kill { .. } => hosts.kill(a),
        FaultKind::Drain { .. } => {
            hosts.links.touch_those_of(a);
            hosts.tell_to_leave(a);
        }
        FaultKind::Pause { .. } => hosts.pause_as_told(a),
        _ => {}
    }
}
