//! Asks every check about what happens, and keeps the first promise that was broken.

use std::time::Duration;

use super::audience::Audience;
use crate::call::CallRecord;
use crate::invariant::{EventualPromise, Invariant};
use crate::trace::event::Event;
use crate::trace::questions::Questions;
use crate::violation::{Violation, ViolationKind};

/// The name under which a scenario is told that it is wrong under every plan.
const SET_UP: &str = "every host starts";

/// The checks of one rehearsal.
#[derive(Debug)]
pub(crate) struct Checks {
    invariants: Vec<Box<dyn Invariant>>,
    eventual: Vec<EventualPromise>,
    /// Which of the invariants want what.
    audience: Audience,
    /// Which of the eventual promises want what.
    eventual_audience: Audience,
    violation: Option<Violation>,
}

/// An eventual promise that does not hold yet.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) promise: String,
    /// How long it may take to hold.
    pub(crate) within: Duration,
    pub(crate) detail: String,
}

impl Checks {
    pub(crate) fn new(invariants: Vec<Box<dyn Invariant>>, eventual: Vec<EventualPromise>) -> Self {
        let audience = Audience::new(invariants.iter().map(|check| check.wants()));
        let eventual_audience = Audience::new(eventual.iter().map(|promise| promise.check.wants()));
        Self { invariants, eventual, audience, eventual_audience, violation: None }
    }

    /// The first promise that was broken.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(super) fn violate(&mut self, promise: &str, detail: String, at: Duration) {
        let kind = ViolationKind::Promise;
        self.violation.get_or_insert_with(|| Violation { promise: promise.to_owned(), detail, at, kind });
    }

    /// Notes a mistake in the set-up; the first violation counts.
    pub(crate) fn reject_set_up(&mut self, detail: String, at: Duration) {
        let (promise, kind) = (SET_UP.to_owned(), ViolationKind::SetUp);
        self.violation.get_or_insert(Violation { promise, detail, at, kind });
    }

    /// Adds to what was seen when a promise was broken; whether one was.
    pub(super) fn add_to_violation(&mut self, more: &str) -> bool {
        self.violation.as_mut().map(|violation| violation.detail += more).is_some()
    }

    pub(crate) fn show(&mut self, event: &Event, now: Duration) {
        for number in self.audience.of(event) {
            let check = self.invariants[*number].as_mut();
            if let Err(detail) = check.event(event) {
                note(&mut self.violation, check, detail, now);
            }
        }
        for number in self.eventual_audience.of(event) {
            self.eventual[*number].check.event(event);
        }
    }

    pub(crate) fn call_started(&mut self, call: &CallRecord, now: Duration) {
        self.ask(now, |check| check.call_started(call));
    }

    pub(super) fn call_waiting(&mut self, call: &CallRecord, now: Duration) {
        for number in self.audience.of_waiting() {
            let check = self.invariants[*number].as_mut();
            if let Err(detail) = check.call_waiting(call, now) {
                note(&mut self.violation, check, detail, now);
            }
        }
    }

    pub(crate) fn call_ended(&mut self, call: &CallRecord, now: Duration) {
        self.ask(now, |check| check.call_ended(call));
        self.eventual.iter_mut().for_each(|promise| promise.check.call_ended(call));
    }

    /// The eventual promises that do not hold yet.
    pub(crate) fn missing(&self) -> Vec<Missing> {
        let missing = |promise: &EventualPromise| {
            let detail = promise.check.holds().err()?;
            Some(Missing { promise: promise.promise.clone(), within: promise.within, detail })
        };
        self.eventual.iter().filter_map(missing).collect()
    }

    /// How often each promise had something to judge.
    pub(crate) fn met(&self) -> Vec<(String, u64)> {
        let invariants = self.invariants.iter().map(|check| (check.name().to_owned(), check.met()));
        let eventual = self.eventual.iter().map(|promise| (promise.promise.clone(), promise.check.met()));
        invariants.chain(eventual).collect()
    }

    /// What the invariants that note it have asked events for.
    pub(crate) fn asked(&self) -> Vec<(String, Questions)> {
        let asked = self.invariants.iter().filter_map(|check| Some((check.name(), check.asked()?)));
        asked.map(|(promise, questions)| (promise.to_owned(), questions.clone())).collect()
    }

    fn ask(&mut self, now: Duration, mut question: impl FnMut(&mut dyn Invariant) -> Result<(), String>) {
        for check in &mut self.invariants {
            if let Err(detail) = question(check.as_mut()) {
                note(&mut self.violation, check.as_ref(), detail, now);
            }
        }
    }
}

/// A check says that its promise is broken: the first one counts.
fn note(violation: &mut Option<Violation>, check: &dyn Invariant, detail: String, at: Duration) {
    let (promise, kind) = (check.name().to_owned(), ViolationKind::Promise);
    violation.get_or_insert_with(|| Violation { promise, detail, at, kind });
}
