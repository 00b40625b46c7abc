//! Judges a play when it is over: what happened is put in its order, by what everybody says of its time, and then shown
//! to the same checks that watch a simulated world.

use std::time::Duration;

use crate::call::CallRecord;
use crate::scenario::Dress;
use crate::trace::event::{Event, What};
use crate::trace::recorder::{Checks, Missing, Recorder};

/// The checks, and how far they have been told.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) checks: Checks,
    /// Those promises for which processes tell too little.
    pub(super) not_judged: Vec<String>,
    events: usize,
}

/// What checks are told, in its order at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    CallBegins(usize),
    Event(usize),
    CallEnds(usize),
}

impl Judge {
    pub(super) fn new(dress: &Dress) -> Self {
        let mut invariants: Vec<_> = dress.promises.checks.iter().map(|new| new()).collect();
        let mut eventual: Vec<_> = dress.promises.eventual.iter().map(|new| new()).collect();
        let mut not_judged = Vec::new();
        invariants.retain(|check| {
            let is_judged = check.wants().are_met_by(&dress.tells);
            not_judged.extend((!is_judged).then(|| check.name().to_owned()));
            is_judged
        });
        eventual.retain(|promise| {
            let is_judged = promise.check.wants().are_met_by(&dress.tells);
            not_judged.extend((!is_judged).then(|| promise.promise.clone()));
            is_judged
        });
        Self { checks: Checks::new(invariants, eventual), not_judged, events: 0 }
    }

    /// Shows the checks all that happened so far. A call's end is told `slack` after it came: its client may have its
    /// reply before the node logs what it did.
    pub(super) fn hear_all(&mut self, recorder: &Recorder, slack: Duration) {
        let (events, calls) = (recorder.kept.since(0), recorder.calls.all());
        for (at, told) in in_order(events, calls, slack) {
            match told {
                Told::CallBegins(call) => self.checks.call_started(&calls[call], at),
                Told::Event(event) => self.checks.show(&events[event], at),
                Told::CallEnds(call) => self.checks.call_ended(&calls[call], calls[call].ended.unwrap_or(at)),
            }
        }
        self.events = events.len();
    }

    /// Shows the checks what has happened since.
    pub(super) fn hear_more(&mut self, recorder: &Recorder) {
        let events = recorder.kept.since(self.events);
        events.iter().filter(|event| is_shown(event)).for_each(|event| self.checks.show(event, event.at));
        self.events += events.len();
    }

    /// What has to come true and has not.
    pub(super) fn missing(&self) -> Vec<Missing> {
        self.checks.missing()
    }
}

fn in_order(events: &[Event], calls: &[CallRecord], slack: Duration) -> Vec<(Duration, Told)> {
    let shown = events.iter().enumerate().filter(|(_, event)| is_shown(event));
    let events = shown.map(|(number, event)| (event.at, Told::Event(number)));
    let begun = calls.iter().enumerate().map(|(number, call)| (call.started, Told::CallBegins(number)));
    let ended = calls.iter().enumerate();
    let ended = ended.filter_map(|(number, call)| Some((call.ended? + slack, Told::CallEnds(number))));
    let mut all: Vec<_> = events.chain(begun).chain(ended).collect();
    all.sort_unstable();
    all
}

/// Calls are told on their own, and the rest is there for who reads a trace.
fn is_shown(event: &Event) -> bool {
    !matches!(event.what, What::Call(_) | What::Net(..) | What::Bytes(_) | What::Disk(_))
}
