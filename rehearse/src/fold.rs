//! Promises about the domain: a state folded over the events of a rehearsal.

use std::fmt::{self, Write};
use std::sync::Arc;

use sim::{Event, Eventual, Invariant, Questions};

use crate::facts::StreamMessage;

/// What an event does to a state, and whether it may.
pub(crate) type Step<S> = dyn Fn(&mut S, &Event) -> Result<(), String> + Send + Sync;

/// A state, and what its step has asked the events that it was made of.
struct Folded<S> {
    step: Arc<Step<S>>,
    state: S,
    asked: Questions,
    of_services: u64,
}

impl<S: Default> Folded<S> {
    fn new(step: &Arc<Step<S>>) -> Self {
        Self { step: Arc::clone(step), state: S::default(), asked: Questions::default(), of_services: 0 }
    }
}

impl<S> Folded<S> {
    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Self { step, state, asked, of_services } = self;
        *of_services += u64::from(is_of_services(event));
        let step = || sim::caught(|| step(state, event));
        asked.note(step).unwrap_or_else(|panic| Err(format!("its fold panicked: {panic}")))
    }

    /// How many events had what the step asked for. One that asks nothing looks at events as they are, and nobody
    /// knows at which: then all count that can concern a domain.
    fn met(&self) -> u64 {
        if self.asked.is_empty() { self.of_services } else { self.asked.answered() }
    }
}

/// A promise that holds as long as no step says otherwise.
pub(crate) struct Fold<S> {
    promise: Arc<str>,
    folded: Folded<S>,
}

impl<S: Default> Fold<S> {
    pub(crate) fn new(promise: &Arc<str>, step: &Arc<Step<S>>) -> Self {
        Self { promise: Arc::clone(promise), folded: Folded::new(step) }
    }
}

impl<S> Invariant for Fold<S> {
    fn name(&self) -> &str {
        &self.promise
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.folded.event(event)
    }

    fn met(&self) -> u64 {
        self.folded.met()
    }

    fn asked(&self) -> Option<&Questions> {
        Some(&self.folded.asked)
    }
}

impl<S> fmt::Debug for Fold<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("promise", &self.promise).finish_non_exhaustive()
    }
}

/// A promise about the state of a fold, which must come true in the end.
pub(crate) struct Eventually<S, F> {
    folded: Folded<S>,
    holds: Arc<F>,
}

impl<S: Default, F> Eventually<S, F> {
    pub(crate) fn new(step: &Arc<Step<S>>, holds: Arc<F>) -> Self {
        Self { folded: Folded::new(step), holds }
    }
}

impl<S: fmt::Debug, F: Fn(&S) -> bool> Eventual for Eventually<S, F> {
    fn event(&mut self, event: &Event) {
        // What a step finds wrong is told by the fold itself.
        drop(self.folded.event(event));
    }

    fn holds(&self) -> Result<(), String> {
        let state = &self.folded.state;
        match sim::caught(|| (self.holds)(state)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("it has not come true of {}", beginning_of(state))),
            Err(panic) => Err(format!("its check panicked: {panic}")),
        }
    }

    fn met(&self) -> u64 {
        self.folded.met()
    }
}

impl<S, F> fmt::Debug for Eventually<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eventually").finish_non_exhaustive()
    }
}

/// How a state is printed; only its beginning, for it may be large, and is asked for at each step until the promise holds.
fn beginning_of(state: &impl fmt::Debug) -> String {
    struct Beginning(String);

    impl Write for Beginning {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            const BYTES: usize = 600;
            let end = text.floor_char_boundary(BYTES.saturating_sub(self.0.len()));
            self.0.push_str(&text[..end]);
            if end == text.len() { Ok(()) } else { Err(fmt::Error) }
        }
    }

    let mut beginning = Beginning(String::new());
    let is_whole = write!(beginning, "{state:?}").is_ok();
    beginning.0 + if is_whole { "" } else { "…" }
}

/// Whether a service or a client tells it, and not the node around it: only that can concern a domain.
fn is_of_services(event: &Event) -> bool {
    event.line().is_some_and(|line| line.of_call.is_some() && line.target != "access")
        || event.told::<StreamMessage>().is_some()
}
