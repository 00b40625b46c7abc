//! What became of the attempts of one call: where each went, and when it had come how far.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::net::Address;

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

/// Written by the carrier, and read by the policies: to go elsewhere next time, and to tell what a failed call spent its
/// time on. The attempts of one call share it. Over memory it stays empty.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Mutex<Vec<Leg>>>);

impl Trail {
    /// The `attempt` goes to `address`.
    pub fn goes_to(&self, attempt: u32, address: &Address) {
        self.change(|legs| match legs.iter_mut().find(|leg| leg.attempt == attempt) {
            Some(leg) => leg.address = address.clone(),
            None => legs.push(Leg { attempt, address: address.clone(), steps: Vec::new() }),
        });
    }

    /// The `attempt` has come so far.
    pub fn came(&self, attempt: u32, step: Step) {
        let now = Instant::now();
        self.change(|legs| {
            if let Some(leg) = legs.iter_mut().find(|leg| leg.attempt == attempt) {
                leg.steps.push((step, now));
            }
        });
    }

    /// Whether another than `attempt` went to `address`.
    #[must_use]
    pub fn was_at(&self, attempt: u32, address: &Address) -> bool {
        self.change(|legs| legs.iter().any(|leg| leg.attempt != attempt && leg.address == *address))
    }

    /// All of them.
    #[must_use]
    pub fn legs(&self) -> Vec<Leg> {
        self.change(|legs| legs.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Leg>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
