//! Promises about the domain: a state folded over the events of a rehearsal.

use std::fmt;
use std::sync::Arc;

use sim::{Event, Eventual, Invariant};

use crate::facts::StreamMessage;

/// What an event does to a state, and whether it may.
pub(crate) type Step<S> = dyn Fn(&mut S, &Event) -> Result<(), String> + Send + Sync;

/// A promise that holds as long as no step says otherwise.
pub(crate) struct Fold<S> {
    promise: Arc<str>,
    step: Arc<Step<S>>,
    state: S,
    met: u64,
}

impl<S: Default> Fold<S> {
    pub(crate) fn new(promise: &Arc<str>, step: &Arc<Step<S>>) -> Self {
        Self { promise: Arc::clone(promise), step: Arc::clone(step), state: S::default(), met: 0 }
    }
}

impl<S> Invariant for Fold<S> {
    fn name(&self) -> &str {
        &self.promise
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.met += u64::from(is_of_services(event));
        (self.step)(&mut self.state, event)
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl<S> fmt::Debug for Fold<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("promise", &self.promise).finish_non_exhaustive()
    }
}

/// A promise about the state of a fold, which must come true in the end.
pub(crate) struct Eventually<S, F> {
    step: Arc<Step<S>>,
    state: S,
    holds: Arc<F>,
    met: u64,
}

impl<S: Default, F> Eventually<S, F> {
    pub(crate) fn new(step: &Arc<Step<S>>, holds: Arc<F>) -> Self {
        Self { step: Arc::clone(step), state: S::default(), holds, met: 0 }
    }
}

impl<S, F: Fn(&S) -> bool> Eventual for Eventually<S, F> {
    fn event(&mut self, event: &Event) {
        self.met += u64::from(is_of_services(event));
        // What a step finds wrong is told by the fold itself.
        drop((self.step)(&mut self.state, event));
    }

    fn holds(&self) -> Result<(), String> {
        if (self.holds)(&self.state) { Ok(()) } else { Err("it has not come true".to_owned()) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl<S, F> fmt::Debug for Eventually<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eventually").finish_non_exhaustive()
    }
}

/// Whether a service or a client tells it, and not the node around it: only that can concern a domain.
fn is_of_services(event: &Event) -> bool {
    event.line().is_some_and(|line| line.of_call.is_some() && line.target != "access")
        || event.told::<StreamMessage>().is_some()
}
