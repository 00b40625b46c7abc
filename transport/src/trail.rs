//! What became of the attempts of one call: where each went, when it had come how far, and how it ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::Address;
use crate::status::Code;

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It has a connection to send its request over.
    Connected,
    /// The head of its answer is there.
    Answered,
}

/// Where one attempt went, and when it came how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Which attempt of its call it is, from 0.
    pub attempt: u32,
    /// The address that was chosen last; an attempt that was given back unsent has tried several.
    pub address: Address,
    /// When it had come how far.
    pub steps: Vec<(Step, Instant)>,
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

/// What a callee says of its call being repeated (`grpc-retry-pushback-ms`, gRFC A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Not before this time has passed.
    Wait(Duration),
    /// Not at all.
    Stop,
}

/// Written by the carrier, and read by the policies: to go elsewhere next time, and to tell what a failed call spent its
/// time on. The attempts of one call share it. Over memory it stays empty.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    legs: Vec<Leg>,
    marks: Vec<(u32, Mark, Instant)>,
    pushback: Option<(u32, Pushback)>,
}

impl Trail {
    /// The `attempt` goes to `address`.
    pub fn goes_to(&self, attempt: u32, address: &Address) {
        self.change(|Written { legs, .. }| match legs.iter_mut().find(|leg| leg.attempt == attempt) {
            Some(leg) => leg.address = address.clone(),
            None => legs.push(Leg { attempt, address: address.clone(), steps: Vec::new() }),
        });
    }

    /// The `attempt` has come so far.
    pub fn came(&self, attempt: u32, step: Step) {
        let now = Instant::now();
        self.change(|Written { legs, .. }| {
            if let Some(leg) = legs.iter_mut().find(|leg| leg.attempt == attempt) {
                leg.steps.push((step, now));
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
        let elsewhere = |leg: &Leg| leg.attempt != attempt && leg.address == *address;
        self.change(|written| written.legs.iter().any(elsewhere))
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
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
