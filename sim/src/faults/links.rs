//! The links between hosts: what passes on them, and how slowly.
//!
//! Nothing is ever dropped on a link: a partition *holds* segments, and those it held arrive when a sender that doubles
//! its timeout would have tried again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::plan::FaultKind;
use crate::trace::recorder::{self, FaultState, InForce};

/// What the links are like.
#[derive(Debug)]
pub(super) struct Links {
    blocked: BTreeMap<(usize, usize), Block>,
    /// The shortest and the longest latency of a healthy link.
    latency: (Duration, Duration),
}

/// What does not pass on a link between a lower and a higher host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    up: bool,
    down: bool,
}

pub(crate) const OPEN: Block = Block { up: false, down: false };
const CLOSED: Block = Block { up: true, down: true };

impl Block {
    /// Whether it lets segments pass from one host to the other.
    pub(crate) fn lets_pass(self, from: usize, to: usize) -> bool {
        if from < to { !self.up } else { !self.down }
    }
}

impl Links {
    pub(super) fn new(latency_min: Duration, latency_max: Duration) -> Self {
        Self { blocked: BTreeMap::new(), latency: (latency_min, latency_max) }
    }

    /// Whether nothing keeps segments from passing, in either direction.
    pub(super) fn is_open(&self, a: usize, b: usize) -> bool {
        self.block_of(a, b) == OPEN
    }

    /// Brings all links into the state that the faults in force ask for. Segments of links that open are sent again
    /// at once, or after `lag`: which links these are.
    pub(super) fn set_all(&mut self, sim: &mut turmoil::Sim<'_>, lag: Duration) -> Vec<(usize, usize)> {
        let count = recorder::with(|recorder| recorder.hosts.all().len());
        let pairs = (0..count).flat_map(|b| (0..b).map(move |a| (a, b)));
        pairs.filter(|(a, b)| self.set(sim, *a, *b, lag)).collect()
    }

    /// Whether the link's held segments are to be sent again later.
    fn set(&mut self, sim: &mut turmoil::Sim<'_>, a: usize, b: usize, lag: Duration) -> bool {
        let (wanted, slowed) = recorder::with(|recorder| {
            (wanted_block(&recorder.in_force, a, b), latency_of_faults(&recorder.in_force, a, b))
        });
        let (min, max) = slowed.map_or(self.latency, |latency| (latency, latency));
        sim.set_link_latency(address(a), address(b), min);
        sim.set_link_max_message_latency(address(a), address(b), max);
        if self.block_of(a, b) == wanted {
            return false;
        }
        self.blocked.insert((a, b), wanted);
        if wanted != OPEN {
            sim.hold(address(a), address(b));
            touch_if_under_way(sim, a, b);
        } else if lag.is_zero() {
            sim.release(address(a), address(b));
        } else {
            sim.repair(address(a), address(b));
            return true;
        }
        false
    }

    /// Lets go of the segments that a link still holds, unless it is blocked again.
    pub(super) fn send_again(&self, sim: &mut turmoil::Sim<'_>, a: usize, b: usize) {
        if self.is_open(a, b) {
            sim.release(address(a), address(b));
        }
    }

    /// turmoil holds a link both ways; where only one way is blocked, the other is let through at every step.
    pub(super) fn pass_free_directions(&self, sim: &turmoil::Sim<'_>) {
        let one_way = |block: &Block| block.up != block.down;
        if !self.blocked.values().any(one_way) {
            return;
        }
        sim.links(|links| {
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
        let ends = recorder::with(|recorder| recorder.hosts.at(from).zip(recorder.hosts.at(to)));
        ends.is_some_and(|(from, to)| {
            let block = self.block_of(from, to);
            block.up != block.down && block.lets_pass(from, to)
        })
    }

    fn block_of(&self, a: usize, b: usize) -> Block {
        self.blocked.get(&(a.min(b), a.max(b))).copied().unwrap_or(OPEN)
    }
}

/// The address by which turmoil knows a host.
pub(super) fn address(host: usize) -> IpAddr {
    recorder::with(|recorder| recorder.hosts.get(host).address)
}

/// Segments that are under way when a link is blocked are held up like those sent later.
fn touch_if_under_way(sim: &turmoil::Sim<'_>, a: usize, b: usize) {
    let ends = [address(a), address(b)];
    sim.links(|links| {
        for mut link in links {
            let pair = link.pair();
            if ends.contains(&pair.0) && ends.contains(&pair.1) && link.next().is_some() {
                recorder::with(|recorder| recorder.touch(a, b));
            }
        }
    });
}

/// What the faults in force keep from passing between a lower and a higher host.
pub(crate) fn wanted_block(in_force: &InForce, low: usize, high: usize) -> Block {
    let mut block = OPEN;
    for state in in_force.active() {
        let is_here = state.is_between(low, high);
        match state.fault.what {
            FaultKind::Partition { .. } | FaultKind::Hold { .. } if is_here => block = CLOSED,
            FaultKind::PartitionOneWay { .. } if is_here && state.a == low => block.up = true,
            FaultKind::PartitionOneWay { .. } if is_here => block.down = true,
            FaultKind::Pause { .. } if state.a == low || state.a == high => block = CLOSED,
            _ => {}
        }
    }
    block
}

/// How long a segment takes over a link that is slow.
pub(crate) fn latency_of_faults(in_force: &InForce, low: usize, high: usize) -> Option<Duration> {
    let latency = |state: &FaultState| match state.fault.what {
        FaultKind::SlowLink { latency, .. } => Some(latency),
        _ => None,
    };
    in_force.active().filter(|state| state.is_between(low, high)).filter_map(latency).max()
}
