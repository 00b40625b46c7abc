//! What must hold in every rehearsal, and what must hold in the end: the two sorts of promises.

use std::any::TypeId;
use std::fmt;
use std::time::Duration;

use crate::call::CallRecord;
use crate::trace::event::{Event, Fact};
use crate::trace::questions::Questions;

/// A promise that is checked while the rehearsal runs.
///
/// Each method is told one thing, when it happens, and answers `Err` with what it saw if that breaks the promise;
/// the rehearsal then ends. A check must decide from what it is told alone, and the same way each time: no
/// clock, no chance, no logging. A new one is made for each rehearsal, so it may keep state.
pub trait Invariant: fmt::Debug {
    /// The promise in a few words, as it is printed when broken.
    fn name(&self) -> &str;

    /// What it is told of; asked once, before anything happens. Most events concern few checks, so that one which
    /// says what it wants makes a rehearsal faster.
    fn wants(&self) -> Wants {
        Wants::everything()
    }

    /// Something happened: a log line, a fact, a fault, a phase. Calls are told on their own, packets, bytes and
    /// disks not at all.
    ///
    /// # Errors
    /// When the promise is broken.
    fn event(&mut self, _event: &Event) -> Result<(), String> {
        Ok(())
    }

    /// A client makes a call.
    ///
    /// # Errors
    /// When the promise is broken.
    fn call_started(&mut self, _call: &CallRecord) -> Result<(), String> {
        Ok(())
    }

    /// At `now`, at the end of a tick, a client still waits for this call.
    ///
    /// # Errors
    /// When the promise is broken.
    fn call_waiting(&mut self, _call: &CallRecord, _now: Duration) -> Result<(), String> {
        Ok(())
    }

    /// A client has its reply.
    ///
    /// # Errors
    /// When the promise is broken.
    fn call_ended(&mut self, _call: &CallRecord) -> Result<(), String> {
        Ok(())
    }

    /// How often there was something to judge. A check that met nothing in a whole suite run proves nothing, and is
    /// reported.
    fn met(&self) -> u64;

    /// What it has asked events for, if it notes that: names that no event knows are reported.
    fn asked(&self) -> Option<&Questions> {
        None
    }
}

/// A promise that need not hold at every moment, but must hold in the end: once all faults have healed, every sort of
/// call works again and nothing is in flight, it must come true within a stated time.
///
/// As with an [`Invariant`], what it says follows from what it was told, and from nothing else.
pub trait Eventual: fmt::Debug {
    /// What it is told of; asked once, before anything happens.
    fn wants(&self) -> Wants {
        Wants::everything()
    }

    /// Something happened: a log line, a fact, a fault, a phase.
    fn event(&mut self, _event: &Event) {}

    /// A client has its reply.
    fn call_ended(&mut self, _call: &CallRecord) {}

    /// Whether it holds as things are.
    ///
    /// # Errors
    /// When it does not hold yet; the error says what is missing.
    fn holds(&self) -> Result<(), String>;

    /// How many things it was told of that had to come true in the end.
    fn met(&self) -> u64;
}

/// What a check is told of. Faults, phases and the beginnings and ends of calls are told to all.
#[derive(Debug, Clone)]
pub struct Wants {
    pub(crate) lines: bool,
    /// The types of facts; `None` for all.
    pub(crate) facts: Option<Vec<TypeId>>,
    /// The types of facts without which nothing can be judged.
    needs: Vec<TypeId>,
    pub(crate) waiting: bool,
}

impl Wants {
    /// All that there is.
    #[must_use]
    pub fn everything() -> Self {
        Self { lines: true, facts: None, needs: Vec::new(), waiting: true }
    }

    /// No log line, no fact, and not which calls wait.
    #[must_use]
    pub fn nothing() -> Self {
        Self { lines: false, facts: Some(Vec::new()), needs: Vec::new(), waiting: false }
    }

    /// Log lines, too.
    #[must_use]
    pub fn lines(self) -> Self {
        Self { lines: true, ..self }
    }

    /// Facts of this type, too.
    #[must_use]
    pub fn fact<T: Fact>(self) -> Self {
        let facts = self.facts.map(|mut facts| {
            facts.push(TypeId::of::<T>());
            facts
        });
        Self { facts, ..self }
    }

    /// It can judge nothing where facts of this type are not told, as of processes, whose seams nobody stands in. What is
    /// asked for by [`fact`](Self::fact) is needed, too.
    #[must_use]
    pub fn needing<T: Fact>(mut self) -> Self {
        self.needs.push(TypeId::of::<T>());
        self
    }

    /// Whether facts of these types are enough to judge by.
    pub(crate) fn are_met_by(&self, told: &[TypeId]) -> bool {
        self.facts.iter().flatten().chain(&self.needs).all(|fact| told.contains(fact))
    }

    /// All log lines and all facts, but not which calls wait.
    #[must_use]
    pub fn events() -> Self {
        Self { waiting: false, ..Self::everything() }
    }

    /// Which calls wait, at the end of each tick, too.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self { waiting: true, ..self }
    }
}

/// An eventual promise, its name and its time.
#[derive(Debug)]
pub(crate) struct EventualPromise {
    pub(crate) promise: String,
    pub(crate) within: Duration,
    pub(crate) check: Box<dyn Eventual>,
}
