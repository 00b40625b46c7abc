//! Makes the faults of a plan happen, at their virtual times.
//!
//! Two things are modelled rather than left to turmoil. turmoil never sends a lost segment again, so one
//! lost segment would stop a connection for good; under TCP it is only late. Hence nothing here is ever
//! dropped on a link: a partition *holds* segments, and those it held arrive when a sender that doubles its
//! timeout would have tried again. And turmoil closes the sockets of a crashed host, which is what the
//! death of a process looks like; at a power loss nobody is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::entropy::mix;
use crate::plan::{Fault, FaultKind, Plan};
use crate::scenario::Scenario;
use crate::stage::{self, FaultState, Stage, Status};
use crate::trace::event::What;
use crate::world::World;

/// Linux' first retransmission timeout on a fast link (RFC 6298 with the usual floor of 200 ms).
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);

/// What is still to happen, and what the links are like.
#[derive(Debug)]
pub(crate) struct Timeline {
    due: BTreeMap<(Duration, usize), Action>,
    blocked: BTreeMap<(usize, usize), Block>,
    latency: (Duration, Duration),
    lag_max: Duration,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Begin(usize),
    End(usize),
    /// Held segments of a link are sent again.
    Retransmit(usize, usize),
}

/// What does not pass on a link between a lower and a higher host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    up: bool,
    down: bool,
}

const OPEN: Block = Block { up: false, down: false };

impl Timeline {
    pub(crate) fn new(plan: &Plan, scenario: &Scenario) -> Self {
        let latency = (plan.network.latency_min, plan.network.latency_max);
        let lag_max = scenario.recovers_within / 2;
        let mut timeline = Self { due: BTreeMap::new(), blocked: BTreeMap::new(), latency, lag_max, next: 0 };
        for (number, fault) in plan.faults.iter().enumerate() {
            timeline.at(fault.from, Action::Begin(number));
            timeline.at(fault.until(), Action::End(number));
        }
        timeline
    }

    fn at(&mut self, when: Duration, action: Action) {
        self.next += 1;
        self.due.insert((when, self.next), action);
    }

    fn pop(&mut self, now: Duration) -> Option<Action> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

impl World<'_> {
    pub(crate) fn apply_due_faults(&mut self, now: Duration) {
        while let Some(action) = self.timeline.pop(now) {
            match action {
                Action::Begin(number) => self.begin(number),
                Action::End(number) => self.end(number, now),
                Action::Retransmit(a, b) => {
                    if self.block_of(a, b) == OPEN {
                        self.sim.release(address(a), address(b));
                    }
                }
            }
        }
        self.pass_free_directions();
    }

    fn begin(&mut self, number: usize) {
        let Some((what, a, b)) = switch(number, true) else {
            return;
        };
        tell(number, |number, fault| What::FaultBegins { number, fault });
        match what {
            FaultKind::Reset { .. } => reset_wires(a, b),
            FaultKind::PowerLoss { .. } => {
                self.stop(a, Status::Dark);
                self.lose_what_was_not_synced(number, a);
            }
            FaultKind::Kill { .. } => self.stop(a, Status::Stopped),
            FaultKind::Drain { .. } => on_host(a, |host| host.shared.tell_to_drain()),
            FaultKind::Pause { .. } => on_host(a, |host| host.shared.pause(true)),
            _ => {}
        }
        self.set_links(Duration::ZERO);
    }

    fn end(&mut self, number: usize, now: Duration) {
        let Some((what, a, _)) = switch(number, false) else {
            return;
        };
        tell(number, |number, fault| What::FaultEnds { number, fault });
        let mut lag = Duration::ZERO;
        match what {
            FaultKind::PowerLoss { .. } | FaultKind::Kill { .. } | FaultKind::Drain { .. } => self.start(a),
            FaultKind::Pause { .. } => on_host(a, |host| host.shared.pause(is_paused(a))),
            FaultKind::Partition { .. } | FaultKind::PartitionOneWay { .. } => {
                let lasted = stage::with(|stage| now - stage.faults[number].fault.from);
                lag = retransmission_lag(lasted.unwrap_or_default()).min(self.timeline.lag_max);
            }
            _ => {}
        }
        self.set_links(lag);
    }

    /// Ends what runs on a host. In the dark its sockets are not closed: the links are cut first.
    fn stop(&mut self, host: usize, status: Status) {
        if stage::with(|stage| stage.hosts[host].status) != Some(Status::Running) {
            return stay_down(host);
        }
        stage::with(|stage| stage.hosts[host].status = status);
        on_host(host, |host| host.shared.stop_disks());
        let others = peers_of(host);
        if status == Status::Dark {
            for other in &others {
                self.sim.partition(address(host), address(*other));
            }
        }
        stage::with(|stage| note_if_connected(stage, host));
        self.sim.crash(address(host));
        if status == Status::Stopped {
            on_host(host, |host| host.shared.refuse());
        }
        if status == Status::Dark {
            for other in others {
                self.sim.repair(address(host), address(other));
                if self.block_of(host, other) != OPEN {
                    self.sim.hold(address(host), address(other));
                }
            }
        }
    }

    /// Seeded by the plan and the fault alone, so that it stays the same when a plan gets shorter elsewhere.
    fn lose_what_was_not_synced(&self, number: usize, host: usize) {
        let from = stage::with(|stage| stage.faults[number].fault.from).unwrap_or_default();
        let seed = mix(self.plan.seed ^ mix(from.as_millis() as u64 ^ ((host as u64) << 32)));
        let shared = stage::with(|stage| std::sync::Arc::clone(&stage.hosts[host].shared));
        if let Some(shared) = shared {
            shared.lose_power(seed);
        }
    }

    /// Starts a host again, unless another fault keeps it down.
    fn start(&mut self, host: usize) {
        let stays_down = |state: &FaultState| {
            let downs = matches!(
                state.fault.what,
                FaultKind::PowerLoss { .. } | FaultKind::Kill { .. } | FaultKind::Drain { .. }
            );
            downs && state.active && state.a == host
        };
        if stage::with(|stage| stage.faults.iter().any(stays_down)).unwrap_or(true) {
            return stay_down(host);
        }
        // A host told to drain that has not left by now is killed, as by any orchestrator.
        self.stop(host, Status::Stopped);
        stage::with(|stage| stage.hosts[host].status = Status::Running);
        on_host(host, |host| host.shared.start_disks());
        self.sim.bounce(address(host));
    }

    /// Brings all links into the state that the faults in force ask for.
    fn set_links(&mut self, lag: Duration) {
        let count = stage::with(|stage| stage.hosts.len()).unwrap_or_default();
        for b in 0..count {
            for a in 0..b {
                self.set_link(a, b, lag);
            }
        }
    }

    fn set_link(&mut self, a: usize, b: usize, lag: Duration) {
        let (wanted, latency) =
            stage::with(|stage| (wanted_block(stage, a, b), slowed(stage, a, b))).unwrap_or((OPEN, None));
        let (min, max) = latency.map_or(self.timeline.latency, |latency| (latency, latency));
        self.sim.set_link_latency(address(a), address(b), min);
        self.sim.set_link_max_message_latency(address(a), address(b), max);
        let was = self.block_of(a, b);
        if was == wanted {
            return;
        }
        self.timeline.blocked.insert((a, b), wanted);
        if wanted != OPEN {
            self.sim.hold(address(a), address(b));
            self.note_if_under_way(a, b);
        } else if lag.is_zero() {
            self.sim.release(address(a), address(b));
        } else {
            self.sim.repair(address(a), address(b));
            let now = stage::with(|stage| stage.now()).unwrap_or_default();
            self.timeline.at(now + lag, Action::Retransmit(a, b));
        }
    }

    /// Segments that are under way when a link is blocked are held up like those sent later.
    fn note_if_under_way(&self, a: usize, b: usize) {
        let ends = [address(a), address(b)];
        self.sim.links(|links| {
            for mut link in links {
                let pair = link.pair();
                if ends.contains(&pair.0) && ends.contains(&pair.1) && link.next().is_some() {
                    stage::with(|stage| stage.touch(a, b));
                }
            }
        });
    }

    fn block_of(&self, a: usize, b: usize) -> Block {
        let key = (a.min(b), a.max(b));
        self.timeline.blocked.get(&key).copied().unwrap_or(OPEN)
    }

    /// turmoil holds a link both ways; where only one way is blocked, the other is let through at every step.
    fn pass_free_directions(&self) {
        let one_way = |block: &Block| block.up != block.down;
        if !self.timeline.blocked.values().any(one_way) {
            return;
        }
        self.sim.links(|links| {
            for link in links {
                let (one, other) = link.pair();
                for segment in link {
                    let from = segment.pair().0.ip();
                    let to = if from == one { other } else { one };
                    if self.is_free(from, to) {
                        segment.deliver();
                    }
                }
            }
        });
    }

    fn is_free(&self, from: IpAddr, to: IpAddr) -> bool {
        let ends = stage::with(|stage| stage.host_at(from).zip(stage.host_at(to))).flatten();
        ends.is_some_and(|(from, to)| {
            let block = self.block_of(from, to);
            block.up != block.down && if from < to { !block.up } else { !block.down }
        })
    }
}

fn tell(number: usize, what: impl FnOnce(usize, Fault) -> What) {
    stage::with(|stage| {
        let fault = stage.faults[number].fault.clone();
        stage.announce(what(number, fault));
    });
}

/// How long after a partition has healed a sender tries again: its timeouts double from the first loss on.
fn retransmission_lag(lasted: Duration) -> Duration {
    let mut timeout = RETRANSMISSION_TIMEOUT;
    let mut tried_at = timeout;
    while tried_at < lasted {
        timeout *= 2;
        tried_at += timeout;
    }
    tried_at - lasted
}

/// Switches a fault on or off; what it is and where.
fn switch(number: usize, active: bool) -> Option<(FaultKind, usize, Option<usize>)> {
    stage::with(|stage| {
        let state = stage.faults.get_mut(number)?;
        state.active = active;
        state.has_begun = true;
        let name = state.fault.what.name();
        let found = (state.fault.what.clone(), state.a, state.b);
        if active {
            for call in &stage.in_flight {
                stage.calls[*call].faults.push(name);
            }
        }
        Some(found)
    })
    .flatten()
}

/// What is down by more than one fault is dark while one of them is a power loss; else its machine says that
/// nobody is there.
fn stay_down(host: usize) {
    stage::with(|stage| {
        let is_dark = |state: &FaultState| {
            state.active && state.a == host && matches!(state.fault.what, FaultKind::PowerLoss { .. })
        };
        let is_dark = stage.faults.iter().any(is_dark);
        let host = &mut stage.hosts[host];
        match host.status {
            Status::Running => {}
            _ if is_dark => host.status = Status::Dark,
            _ => {
                host.status = Status::Stopped;
                host.shared.refuse();
            }
        }
    });
}

fn address(host: usize) -> IpAddr {
    let address = stage::with(|stage| stage.hosts[host].address);
    address.expect("a world runs on a stage that knows its hosts")
}

fn peers_of(host: usize) -> Vec<usize> {
    let count = stage::with(|stage| stage.hosts.len()).unwrap_or_default();
    (0..count).filter(|other| *other != host).collect()
}

fn on_host(host: usize, work: impl FnOnce(&stage::HostState)) {
    stage::with(|stage| work(&stage.hosts[host]));
}

fn is_paused_by(state: &FaultState, host: usize) -> bool {
    state.active && state.a == host && matches!(state.fault.what, FaultKind::Pause { .. })
}

fn is_paused(host: usize) -> bool {
    stage::with(|stage| stage.faults.iter().any(|state| is_paused_by(state, host))).unwrap_or(false)
}

/// A host that stops takes its connections along; that touches a call if one is in flight.
fn note_if_connected(stage: &mut Stage, host: usize) {
    let wires = stage.wires.iter().filter_map(std::sync::Weak::upgrade);
    let ends: Vec<_> = wires.filter(|wire| wire.peer == host).map(|wire| wire.local).collect();
    for end in ends {
        stage.touch(end, host);
    }
}

/// Breaks all connections between two hosts, at both ends.
fn reset_wires(a: usize, b: Option<usize>) {
    let wires = stage::with(|stage| {
        stage.wires.retain(|wire| wire.strong_count() > 0);
        let wires = stage.wires.iter().filter_map(std::sync::Weak::upgrade);
        let is_between = |local, peer| Some(local) == b && peer == a || local == a && Some(peer) == b;
        let between: Vec<_> = wires.filter(|wire| is_between(wire.local, wire.peer)).collect();
        if let (Some(b), false) = (b, between.is_empty()) {
            stage.touch(a, b);
        }
        between
    });
    // Woken outside the stage: a waker may run code that reports to it.
    for wire in wires.unwrap_or_default() {
        wire.reset();
    }
}

fn wanted_block(stage: &Stage, low: usize, high: usize) -> Block {
    let mut block = OPEN;
    for state in stage.faults.iter().filter(|state| state.active) {
        let is_here = (state.a, state.b) == (low, Some(high)) || (state.a, state.b) == (high, Some(low));
        match state.fault.what {
            FaultKind::Partition { .. } | FaultKind::Hold { .. } if is_here => {
                block = Block { up: true, down: true }
            }
            FaultKind::PartitionOneWay { .. } if is_here && state.a == low => block.up = true,
            FaultKind::PartitionOneWay { .. } if is_here => block.down = true,
            FaultKind::Pause { .. } if state.a == low || state.a == high => {
                block = Block { up: true, down: true }
            }
            _ => {}
        }
    }
    block
}

fn slowed(stage: &Stage, low: usize, high: usize) -> Option<Duration> {
    let here = stage.faults.iter().filter(|state| state.active);
    let here = here
        .filter(|state| (state.a, state.b) == (low, Some(high)) || (state.a, state.b) == (high, Some(low)));
    let latency = |state: &FaultState| match state.fault.what {
        FaultKind::SlowLink { latency, .. } => Some(latency),
        _ => None,
    };
    here.filter_map(latency).max()
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
