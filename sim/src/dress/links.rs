//! The links between processes: what passes now, and how slowly, as the faults in force have it.
//!
//! Nothing is dropped on a link, as in a simulated world: what a fault holds up arrives later, and only a machine
//! without power loses bytes for good.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::faults::links::{latency_of_faults, wanted_block};
use crate::plan::Network;
use crate::tempo::Tempo;
use crate::trace::recorder::{self, Status};

/// From which host to which something goes, by their numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Way {
    pub(super) fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }

    fn ends(self) -> (usize, usize) {
        (self.from.min(self.to), self.from.max(self.to))
    }
}

/// A connection between two hosts.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) way: Way,
    begun: Instant,
    /// The host at one of its ends that has lost its power since.
    forgotten_by: Cell<Option<usize>>,
    broken: Notify,
}

impl Wire {
    /// The host that does not know of it any more.
    pub(super) fn forgotten_by(&self) -> Option<usize> {
        self.forgotten_by.get()
    }

    /// Resolves when it is reset.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }
}

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    changed: Notify,
    /// When partitions between two hosts healed, and when what they had held up is sent again.
    healed: RefCell<BTreeMap<(usize, usize), (Instant, Instant)>>,
    wires: RefCell<Vec<Weak<Wire>>>,
    latency: (Duration, Duration),
    tempo: Tempo,
    chance: RefCell<fastrand::Rng>,
}

impl Links {
    pub(super) fn new(network: &Network, seed: u64, tempo: Tempo) -> Self {
        Self {
            changed: Notify::new(),
            healed: RefCell::default(),
            wires: RefCell::default(),
            latency: (network.latency_min, network.latency_max),
            tempo,
            chance: RefCell::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// A connection begins.
    pub(super) fn wire(&self, way: Way) -> Rc<Wire> {
        let (forgotten_by, broken) = (Cell::new(None), Notify::new());
        let wire = Rc::new(Wire { way, begun: Instant::now(), forgotten_by, broken });
        let mut wires = self.wires.borrow_mut();
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Rc::downgrade(&wire));
        wire
    }

    /// How long the next segment takes.
    pub(super) fn latency(&self, way: Way) -> Duration {
        let (low, high) = way.ends();
        let slow = recorder::with(|recorder| latency_of_faults(&recorder.in_force, low, high));
        let drawn = || {
            let (min, max) = self.latency;
            min + max.saturating_sub(min).mul_f64(self.chance.borrow_mut().f64())
        };
        self.tempo.stretched(slow.unwrap_or_else(drawn))
    }

    /// Something passes, or would: the faults on its way are effective.
    pub(super) fn touch(&self, way: Way) {
        recorder::with(|recorder| recorder.touch(way.from, way.to));
    }

    /// Resolves when a segment of `wire` may pass.
    pub(super) async fn pass(&self, wire: &Wire, way: Way) {
        loop {
            let changed = self.changed.notified();
            if is_open(way) {
                break;
            }
            self.touch(way);
            changed.await;
        }
        let healed = self.healed.borrow().get(&way.ends()).copied();
        if let Some((_, sent_again)) = healed.filter(|(healed, _)| wire.begun < *healed) {
            sleep_until(sent_again).await;
        }
    }

    /// A fault has begun or ended.
    pub(super) fn note_change(&self) {
        self.changed.notify_waiters();
    }

    /// A partition has healed: what it held up is sent again after `lag`.
    pub(super) fn heal(&self, a: usize, b: usize, lag: Duration) {
        let now = Instant::now();
        self.healed.borrow_mut().insert((a.min(b), a.max(b)), (now, now + lag));
    }

    /// Breaks all connections between two hosts.
    pub(super) fn reset(&self, a: usize, b: usize) {
        for wire in self.wires_of(|wire| wire.way.ends() == (a.min(b), a.max(b))) {
            self.touch(wire.way);
            wire.broken.notify_one();
        }
    }

    /// A host stops, and takes its connections along: that touches a call if one is in flight.
    pub(super) fn touch_those_of(&self, host: usize) {
        self.wires_of(|wire| wire.way.from == host || wire.way.to == host)
            .iter()
            .for_each(|wire| self.touch(wire.way));
    }

    /// The machine of `host` has lost its power, and knows of none of its connections any more.
    pub(super) fn forget_those_of(&self, host: usize) {
        let wires = self.wires_of(|wire| wire.way.from == host || wire.way.to == host);
        wires.iter().for_each(|wire| wire.forgotten_by.set(Some(host)));
    }

    fn wires_of(&self, is_such: impl Fn(&Wire) -> bool) -> Vec<Rc<Wire>> {
        let wires = self.wires.borrow();
        wires.iter().filter_map(Weak::upgrade).filter(|wire| is_such(wire)).collect()
    }
}

/// Whether nothing keeps a segment from passing.
fn is_open(Way { from, to }: Way) -> bool {
    recorder::with(|recorder| {
        let is_dark = |host: usize| recorder.hosts.get(host).status == Status::Dark;
        let block = wanted_block(&recorder.in_force, from.min(to), from.max(to));
        !is_dark(from) && !is_dark(to) && block.lets_pass(from, to)
    })
}
