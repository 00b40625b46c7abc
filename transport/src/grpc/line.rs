//! One connection to an endpoint, the calls on it, and those that wait until there is room on it or on another.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::uri::Authority;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tonic::Status;

use super::subchannel::{self, Connecting, Sender, Subchannel};
use crate::gauges::Count;

/// One connection, and the calls on it.
pub(super) struct Line {
    subchannel: Arc<Subchannel>,
    calls: Count,
    /// Calls that wait until a connection to the endpoint has room.
    turns: Arc<Turns>,
    /// Whether it got a call since that was asked last.
    is_used: AtomicBool,
    /// Which of its connections has been told the names of the headers that vary.
    named: AtomicUsize,
}

/// What there is for a call.
pub(super) enum Pick {
    /// A connection that has room.
    Ready(Arc<Line>, Sender),
    /// A connection in the making, and none that is made.
    Wait(Arc<Line>, Connecting),
    /// Connections none of which has room. There may be one more in the making, or one that could not be made, and when it is tried
    /// again.
    Full { making: Option<(Arc<Line>, Connecting)>, until: Option<Instant> },
    /// None, and it is not yet time to try again.
    Down(Status),
}

impl Line {
    pub(super) fn of(subchannel: Arc<Subchannel>, turns: &Arc<Turns>) -> Arc<Self> {
        let (calls, turns, is_used) = (Count::default(), turns.clone(), AtomicBool::new(true));
        Arc::new(Self { subchannel, calls, turns, is_used, named: AtomicUsize::new(0) })
    }

    /// What it can do for a call now.
    pub(super) fn pick(self: &Arc<Self>) -> Pick {
        match self.subchannel.pick() {
            subchannel::Pick::Ready(sender) if self.has_room() => Pick::Ready(self.clone(), sender),
            subchannel::Pick::Ready(_) => Pick::Full { making: None, until: None },
            subchannel::Pick::Wait(connecting) => Pick::Wait(self.clone(), connecting),
            subchannel::Pick::Down(status) => Pick::Down(status),
        }
    }

    pub(super) fn subchannel(&self) -> &Subchannel {
        &self.subchannel
    }

    pub(super) fn authority(&self) -> &Authority {
        self.subchannel.authority()
    }

    /// Whether its connection knows the names of the headers that vary; from now on it does.
    pub(super) fn is_named(&self) -> bool {
        let made = self.subchannel.made();
        self.named.swap(made, Ordering::Relaxed) == made
    }

    /// Whether its connection is there, and its callee serves.
    pub(super) fn is_there(&self) -> bool {
        self.subchannel.state() == "ready"
    }

    /// Whether it has no call, and got none since this was asked last.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_used.swap(false, Ordering::Relaxed) && self.calls.get() == 0
    }

    /// Whether it carries one more call at once.
    pub(super) fn has_room(&self) -> bool {
        self.calls.get() < self.subchannel.streams_max()
    }

    /// Gives the room that it has to those who wait. If its connection is lost, one of them looks whether it is to be made anew.
    pub(super) fn give_turns(self: &Arc<Self>) {
        if !self.turns.is_empty() && !self.is_there() {
            return self.turns.look_again();
        }
        while !self.turns.is_empty() && self.has_room() {
            self.turns.give(|| Place::new(self.clone()));
        }
    }
}

/// The place of a call on a connection, until it is dropped.
pub(super) struct Place(Arc<Line>);

impl Place {
    pub(super) fn on(line: Arc<Line>) -> Self {
        let place = Self::new(line);
        // A new connection has room for those who came before there was one.
        place.0.give_turns();
        place
    }

    fn new(line: Arc<Line>) -> Self {
        line.calls.add();
        line.is_used.store(true, Ordering::Relaxed);
        Self(line)
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.0
    }

    /// What sends over its connection; none if that is lost.
    pub(super) fn sender(&self) -> Option<Sender> {
        match self.0.subchannel.pick() {
            subchannel::Pick::Ready(sender) => Some(sender),
            subchannel::Pick::Wait(_) | subchannel::Pick::Down(_) => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.take_away();
        self.0.give_turns();
    }
}

/// Who waits, each for as long as its caller does.
#[derive(Default)]
pub(super) struct Turns {
    /// By the numbers that they drew. Held for moments only.
    waiting: Mutex<BTreeMap<usize, oneshot::Sender<Place>>>,
    /// How many they are, for those who look with each call.
    count: AtomicUsize,
    next: AtomicUsize,
    /// Tells one of them that things may have changed.
    changed: Notify,
}

/// One that waits. Given up, it leaves nothing behind, and a place that it was given goes to the next.
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: usize,
    place: oneshot::Receiver<Place>,
}

impl Turns {
    pub(super) fn wait(self: &Arc<Self>) -> Turn {
        let (give, place) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.change(|waiting| waiting.insert(number, give));
        Turn { turns: self.clone(), number, place }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Gives a place to who has waited longest, if anybody waits.
    pub(super) fn give(&self, place: impl FnOnce() -> Place) {
        if let Some((_, first)) = self.change(BTreeMap::pop_first) {
            // Who gives up takes its number away first.
            drop(first.send(place()));
        }
    }

    /// Has one of those who wait look what there is.
    fn look_again(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<usize, oneshot::Sender<Place>>) -> T) -> T {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut waiting);
        self.count.store(waiting.len(), Ordering::Relaxed);
        changed
    }
}

impl Turn {
    /// The place, if it is given by now.
    pub(super) fn given(&mut self) -> Option<Place> {
        self.place.try_recv().ok()
    }
}

impl Future for Turn {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place> {
        let place = Pin::new(&mut self.place).poll(cx);
        place.map(|place| place.expect("who takes a number away gives a place for it, or waits no more"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.change(|waiting| waiting.remove(&self.number));
        // It may have been the one that was to look.
        if !self.turns.is_empty() {
            self.turns.look_again();
        }
    }
}
