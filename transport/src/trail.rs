//! What became of the attempts of one call: where each went, when it had come how far, and how it ended.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::gauges::Count;
use crate::net::Address;
use crate::status::Code;

pub use crate::metadata::Pushback;

/// Where one attempt went, and when it came how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Which attempt of its call it is, from 0.
    pub attempt: u32,
    /// The address that was chosen last; an attempt that was given back unsent has tried several.
    pub address: Arc<Address>,
    /// Whether no other address was known.
    pub is_only: bool,
    /// When it had a connection to that address to send its request over.
    pub connected: Instant,
    /// When the head of its answer was there.
    pub answered: Option<Instant>,
}

/// What the policies note of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It begins; the first one does with its call.
    Begun,
    /// It failed.
    Failed(Code),
    /// Another attempt was first, and this one was dropped.
    Overtaken,
}

/// Written by the carrier, and read by the policies: to go elsewhere next time, and to tell what a failed call spent its
/// time on. The attempts of one call share it. Over memory it stays empty.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Pages>);

#[derive(Debug, Default)]
struct Pages {
    written: Mutex<Written>,
    /// How many attempts the node makes for the request that the call is part of, where somebody wants to know.
    attempts: Option<Arc<Count>>,
}

#[derive(Debug, Default)]
struct Written {
    legs: Vec<Leg>,
    marks: Vec<(u32, Mark, Instant)>,
    pushback: Option<(u32, Pushback)>,
}

impl Trail {
    /// One whose attempts count among `attempts`, if these are counted.
    pub(crate) fn counting(attempts: Option<Arc<Count>>) -> Self {
        Self(Arc::new(Pages { written: Mutex::default(), attempts }))
    }

    /// What its attempts count among.
    pub(crate) fn attempts(&self) -> Option<&Arc<Count>> {
        self.0.attempts.as_ref()
    }

    /// The `attempt` goes to `address`, the only one or one of several, over a connection that is there by then.
    pub fn goes_to(&self, attempt: u32, address: &Arc<Address>, is_only: bool, connected: Instant) {
        let address = address.clone();
        let leg = Leg { attempt, address, is_only, connected, answered: None };
        self.change(|Written { legs, .. }| match legs.iter_mut().find(|known| known.attempt == attempt) {
            Some(known) => *known = leg,
            None => legs.push(leg),
        });
    }

    /// The head of the answer of the `attempt` is there.
    pub fn answered(&self, attempt: u32, now: Instant) {
        self.change(|Written { legs, .. }| {
            if let Some(leg) = legs.iter_mut().find(|leg| leg.attempt == attempt) {
                leg.answered = Some(now);
            }
        });
    }

    /// The callee of the `attempt` says when its call may be repeated.
    pub fn pushes_back(&self, attempt: u32, pushback: Pushback) {
        self.change(|written| written.pushback = Some((attempt, pushback)));
    }

    /// Whether another than `attempt` went to `address`.
    #[must_use]
    pub fn was_at(&self, attempt: u32, address: &Address) -> bool {
        let elsewhere = |leg: &Leg| leg.attempt != attempt && *leg.address == *address;
        self.change(|written| written.legs.iter().any(elsewhere))
    }

    /// Whether an attempt is where another one would go, too, for there is no other address.
    pub(crate) fn is_at_the_only_one(&self) -> bool {
        self.change(|written| written.legs.iter().any(|leg| leg.is_only))
    }

    /// Whether the two are of the same call.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether anybody else holds it, as a call does that is under way.
    #[must_use]
    pub fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// All of them.
    #[must_use]
    pub fn legs(&self) -> Vec<Leg> {
        self.change(|written| written.legs.clone())
    }

    /// What the policies noted, in its order: of which attempt, what, and when.
    #[must_use]
    pub fn marks(&self) -> Vec<(u32, Mark, Instant)> {
        self.change(|written| written.marks.clone())
    }

    /// Whether all that there is of its call, so far, is the first attempt.
    pub(crate) fn is_of_one(&self) -> bool {
        self.change(|written| written.marks.is_empty())
    }

    pub(crate) fn mark(&self, attempt: u32, mark: Mark) {
        let now = Instant::now();
        self.change(|written| written.marks.push((attempt, mark, now)));
    }

    /// What the callee of the `attempt` said of a repetition.
    pub(crate) fn pushback(&self, attempt: u32) -> Option<Pushback> {
        let said = self.change(|written| written.pushback);
        said.filter(|(by, _)| *by == attempt).map(|(_, pushback)| pushback)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Written) -> T) -> T {
        change(&mut self.0.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
