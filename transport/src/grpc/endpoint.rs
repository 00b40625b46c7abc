//! One endpoint of a service: its connection, the calls that it has, and the record of those that it had.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::line::{Pick, Turn};
use super::lines::Lines;
use super::record::{Record, Standing, Verdict};
use super::rendezvous;
use super::subchannel::Subchannel;
use crate::chance::chance;
use crate::gauges::{Count, Gauge, Reading};
use crate::net::Address;

pub(super) struct Endpoint {
    service: &'static str,
    address: Arc<Address>,
    /// Of its address.
    hash: u64,
    lines: Arc<Lines>,
    calls: Count,
    /// As the state of a subchannel: held for moments only, and contended by nobody but who reads the gauges.
    record: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    record: Record,
    /// The number of the call that it got last.
    last: usize,
    /// Of which of its connections it is.
    connection: usize,
}

/// How an endpoint looks to a call that seeks one.
pub(super) struct Look {
    pub(super) standing: Standing,
    /// How many calls it has.
    pub(super) calls: usize,
    /// The number of the call that it got last.
    pub(super) last: usize,
}

impl Endpoint {
    pub(super) fn new(service: &'static str, address: Address, lines: Arc<Lines>) -> Arc<Self> {
        let (calls, record) = Default::default();
        let hash = rendezvous::hash(address.to_string().as_bytes());
        Arc::new(Self { service, address: Arc::new(address), hash, lines, calls, record })
    }

    /// What it is ranked by among the endpoints of a key.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn address(&self) -> &Arc<Address> {
        &self.address
    }

    /// What connects to it first of all.
    pub(super) fn subchannel(&self) -> &Subchannel {
        self.lines.first()
    }

    /// A connection to it; starts connecting where that is due.
    pub(super) fn pick(&self) -> Pick {
        self.lines.pick()
    }

    /// Waits until a connection to it has room.
    pub(super) fn turn(&self) -> Turn {
        self.lines.turn()
    }

    /// Waits until whoever waits for room is to look again what there is.
    pub(super) async fn changed(&self) {
        self.lines.changed().await;
    }

    /// Gives the room that there is to those who wait for it.
    pub(super) fn give_turns(&self) {
        self.lines.give_turns();
    }

    pub(super) fn look(&self, now: Instant) -> Look {
        let made = self.subchannel().made();
        let mut known = self.known();
        if known.connection != made {
            // Another process may be there now. Failures in a row still count: it may fail call after call.
            known.connection = made;
            known.record.forget_mean();
        }
        Look { standing: known.record.standing(now), calls: self.calls.get(), last: known.last }
    }

    /// It gets a call, the `number`th of all, which may be one that tries whether it is sound again.
    pub(super) fn begin(&self, number: usize, is_trial: bool) {
        self.calls.add();
        let mut known = self.known();
        known.last = number;
        if is_trial {
            known.record.try_it();
        }
    }

    /// A call of it has ended, whatever it has shown.
    pub(super) fn end(&self) {
        self.calls.take_away();
    }

    /// A call that was sent at that time has shown this after a while; whether it is one failure too many.
    pub(super) fn showed(&self, verdict: Verdict, sent: Instant, after: Duration) -> bool {
        let now = Instant::now();
        let mut known = self.known();
        let was_ejected = known.record.is_ejected();
        let is_too_often = known.record.showed(verdict, sent, after, now);
        // Who says that it is full answers, too.
        if was_ejected && !known.record.is_ejected() {
            info!(peer = self.service, address = %self.address, "back: it answers again");
        }
        is_too_often
    }

    /// A call was given up by its caller, after so long.
    pub(super) fn was_given_up(&self, after: Duration) {
        self.known().record.given_up(after, Instant::now());
    }

    /// The call that tried it has ended and shown nothing.
    pub(super) fn was_not_tried(&self) {
        self.known().record.not_tried();
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.known().record.is_ejected()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.subchannel().state() == "ready"
    }

    /// Tells how things stand.
    pub(super) fn tell(&self, reading: &mut Reading) {
        let state = if self.is_ejected() { "ejected" } else { self.subchannel().state() };
        reading.add(Gauge::CalleeAddresses, self.service, state, 1);
    }

    /// Leaves it out for a while.
    pub(super) fn eject(&self) {
        let wait = self.known().record.eject(Instant::now(), chance());
        let ejected_for_ms = wait.as_secs_f64() * 1e3;
        warn!(peer = self.service, address = %self.address, ejected_for_ms, "ejected: its calls fail");
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.address).finish()
    }
}
