//! The table of what is known of calls with idempotency keys: bounded in time, number and bytes. Nothing in it waits.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::gauges::{Gauge, Reading};
use crate::key::Key;
use crate::latch::Latch;
use crate::outcome::{Outcome, size};
use crate::status::{Result, Status};
use crate::store::{Begun, Ended, Recalled};

/// How much is remembered of calls with idempotency keys, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBounds {
    /// How long an answer is remembered after it was made.
    pub kept_for: Duration,
    /// The most keys at once, those of calls that are being handled among them.
    pub keys: usize,
    /// The most bytes of their requests and answers.
    pub bytes: usize,
}

impl Default for KeyBounds {
    fn default() -> Self {
        Self { kept_for: Duration::from_secs(600), keys: 100_000, bytes: 64 * 1024 * 1024 }
    }
}

/// The calls with keys of which something is known.
#[derive(Default)]
pub(crate) struct Kept {
    calls: HashMap<Name, Remembered>,
    /// When each answer is forgotten, in that order.
    due: VecDeque<(Instant, Name)>,
    bytes: usize,
    /// How many of them nobody knows the outcome of.
    unknown: usize,
    is_swept: bool,
}

/// A key belongs to one service. One that an earlier process has kept may be of a service that is here no more.
pub(crate) type Name = (Cow<'static, str>, Key);

/// A call that has a key.
struct Remembered {
    path: Cow<'static, str>,
    /// Its encoding. It is compared itself, and not by a digest: it is there anyway while the call is handled, it counts
    /// like the answer, and nothing that is equal by chance is taken for the same.
    request: Bytes,
    bytes: usize,
    state: State,
}

/// How far a call has come.
pub(crate) enum State {
    Running(Arc<Run>),
    Ended(Outcome),
    /// Its handler may have begun, and did not come to an end that anybody knows of.
    Unknown,
}

/// A call that has a key, as it was read.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) path: &'static str,
    pub(crate) request: &'a Bytes,
    /// Whether it does no harm to handle it twice.
    pub(crate) is_idempotent: bool,
}

/// Where a call stands that was made.
pub(crate) enum Standing {
    /// It is the first, and is to be handled.
    New(Arc<Run>),
    /// It is being handled, and has come to nothing yet.
    Running(Arc<Run>),
    /// It was handled.
    Ended(Outcome),
}

/// How much a key takes besides its own bytes and those of its call.
const ENTRY: usize = 256;

impl Kept {
    /// Finds out where a call stands. One that is new runs from now on.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if another call was made under the key; `RESOURCE_EXHAUSTED` if there is no room for one
    /// more.
    pub(crate) fn claim(&mut self, name: &Name, call: Made<'_>, bounds: &KeyBounds) -> Result<Standing> {
        self.forget_due(Instant::now());
        if call.is_idempotent {
            self.forget_unknown(name, call);
        }
        if let Some(known) = self.calls.get(name) {
            return known.claim(call);
        }
        let bytes = ENTRY + name.1.len() + call.request.len();
        let has_room = self.calls.len() < bounds.keys && self.bytes + bytes <= bounds.bytes;
        if !has_room {
            return Err(Status::resource_exhausted("as many idempotency keys are remembered as may be"));
        }
        let run = Arc::new(Run::default());
        let state = State::Running(run.clone());
        self.bytes += bytes;
        // A copy, since what was read may be a piece of a much larger buffer, which would be kept with it.
        let request = Bytes::copy_from_slice(call.request);
        let path = Cow::Borrowed(call.path);
        self.calls.insert(name.clone(), Remembered { path, request, bytes, state });
        Ok(Standing::New(run))
    }

    /// Remembers what an earlier process has left.
    pub(crate) fn recall(&mut self, recalled: Recalled, now: Instant) {
        let Recalled { service, key, begun: Begun { path, request }, ended, left } = recalled;
        let outcome = ended.map(Ended::into_outcome);
        // Copies here, too: a store may have read all of its keys at once.
        let request = Bytes::copy_from_slice(&request);
        let name = (Cow::Owned(service), Key::kept(key));
        let bytes = ENTRY + name.1.len() + request.len() + outcome.as_ref().map_or(0, size);
        self.bytes += bytes;
        self.unknown += usize::from(outcome.is_none());
        let state = outcome.map_or(State::Unknown, State::Ended);
        self.due.extend(now.checked_add(left).map(|due| (due, name.clone())));
        self.calls.insert(name, Remembered { path: Cow::Owned(path), request, bytes, state });
    }

    /// What is to be remembered of an outcome for which there may be no room, which is taken.
    pub(crate) fn fit(&mut self, name: &Name, outcome: &Outcome, bounds: &KeyBounds) -> Outcome {
        let bytes = size(outcome);
        match self.calls.get_mut(name) {
            Some(known) if self.bytes + bytes <= bounds.bytes => {
                known.bytes += bytes;
                self.bytes += bytes;
                outcome.clone()
            }
            _ => Err(Status::already_exists(
                "the call was handled, and there was no room to remember its answer",
            )),
        }
    }

    /// What becomes of the call is `state` from now on, until it is `due`.
    pub(crate) fn end(&mut self, name: &Name, state: State, due: Option<Instant>) {
        let Some(known) = self.calls.get_mut(name) else { return };
        self.unknown += usize::from(matches!(state, State::Unknown));
        known.state = state;
        // Where the clock does not count as far as it is due, it is never forgotten.
        self.due.extend(due.map(|due| (due, name.clone())));
    }

    /// Nothing is known of the call any more.
    pub(crate) fn forget(&mut self, name: &Name) {
        if let Some(known) = self.calls.remove(name) {
            self.bytes -= known.bytes;
            self.unknown -= usize::from(matches!(known.state, State::Unknown));
        }
    }

    /// Whether somebody has to begin to look for what is due.
    pub(crate) fn begin_sweep(&mut self) -> bool {
        !std::mem::replace(&mut self.is_swept, true)
    }

    /// When the next answer is to be forgotten; nobody looks any more if there is none.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        self.forget_due(Instant::now());
        let next = self.due.front().map(|(due, _)| *due);
        self.is_swept = next.is_some();
        next
    }

    /// Tells how much there is.
    pub(crate) fn tell(&mut self, reading: &mut Reading) {
        self.forget_due(Instant::now());
        let over = self.due.len();
        reading.add(Gauge::IdempotencyKeys, "running", "", self.calls.len() - over);
        reading.add(Gauge::IdempotencyKeys, "answered", "", over - self.unknown);
        reading.add(Gauge::IdempotencyKeys, "unknown", "", self.unknown);
        reading.add(Gauge::IdempotencyBytes, "", "", self.bytes);
    }

    fn forget_due(&mut self, now: Instant) {
        while self.due.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, name)) = self.due.pop_front()
        {
            self.forget(&name);
        }
    }

    /// Forgets a call that may be handled again, since nobody knows what it came to.
    fn forget_unknown(&mut self, name: &Name, call: Made<'_>) {
        let is_unknown = |known: &Remembered| matches!(known.state, State::Unknown) && known.is(call);
        if self.calls.get(name).is_some_and(is_unknown) {
            self.due.retain(|(_, due)| due != name);
            self.forget(name);
        }
    }
}

impl Remembered {
    fn is(&self, call: Made<'_>) -> bool {
        self.path == call.path && self.request == call.request
    }

    fn claim(&self, call: Made<'_>) -> Result<Standing> {
        if !self.is(call) {
            return Err(Status::failed_precondition("the idempotency key was used for another call"));
        }
        Ok(match &self.state {
            State::Running(run) => Standing::Running(run.clone()),
            State::Ended(outcome) => Standing::Ended(outcome.clone()),
            State::Unknown => Standing::Ended(Err(Status::aborted(
                "the outcome of the call is unknown: its node ended after it had been taken on",
            ))),
        })
    }
}

/// A call with a key while it is being handled.
#[derive(Default)]
pub(crate) struct Run(Latch);

impl Run {
    /// Resolves when it is not handled any more.
    pub(crate) async fn ended(&self) {
        self.0.wait().await;
    }

    pub(crate) fn end(&self) {
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::outcome::Answer;

    const BOUNDS: KeyBounds = KeyBounds { kept_for: LATER, keys: 10, bytes: 10_000 };

    const LATER: Duration = Duration::from_secs(60);

    /// What a key of five letters takes whose request has a hundred bytes, and what an answer of seventy does.
    const CALL: usize = ENTRY + 5 + 100;
    const ANSWER: usize = 70;

    fn name() -> Name {
        (Cow::Borrowed("service"), Key::kept("12345".to_owned()))
    }

    fn request() -> Bytes {
        vec![1; 100].into()
    }

    fn answer() -> Outcome {
        Ok(Answer { metadata: MetadataMap::new(), message: vec![2; ANSWER].into() })
    }

    /// What is known of one call.
    fn of_a_call(bounds: &KeyBounds) -> Result<Kept> {
        let mut kept = Kept::default();
        let call = Made { path: "/service/Method", request: &request(), is_idempotent: false };
        kept.claim(&name(), call, bounds).map(|_| kept)
    }

    /// How many calls are running, answered and unknown, and how many bytes there are.
    fn told(kept: &mut Kept) -> [usize; 4] {
        let mut reading = Reading::default();
        kept.tell(&mut reading);
        let keys = |state| reading.count(Gauge::IdempotencyKeys, state, "");
        [keys("running"), keys("answered"), keys("unknown"), reading.sum(Gauge::IdempotencyBytes)]
    }

    #[test]
    fn a_call_takes_what_its_key_its_request_and_its_answer_do_and_no_more_is_taken_than_may_be() {
        let mut kept = of_a_call(&BOUNDS).unwrap();
        assert_eq!(told(&mut kept), [1, 0, 0, CALL]);
        let outcome = kept.fit(&name(), &answer(), &BOUNDS);
        kept.end(&name(), State::Ended(outcome), Some(Instant::now() + LATER));
        assert_eq!(told(&mut kept), [0, 1, 0, CALL + ANSWER]);
        for (bytes, has_room, has_room_for_answer) in
            [(CALL - 1, false, false), (CALL + ANSWER - 1, true, false), (CALL + ANSWER, true, true)]
        {
            let bounds = KeyBounds { bytes, ..BOUNDS };
            let kept = of_a_call(&bounds);
            assert_eq!(kept.is_ok(), has_room, "{bytes}");
            let is_kept = kept.is_ok_and(|mut kept| kept.fit(&name(), &answer(), &bounds).is_ok());
            assert_eq!(is_kept, has_room_for_answer, "{bytes}");
        }
    }

    /// What a store has kept of a call.
    fn recalled(key: &str, ended: Option<Ended>) -> Recalled {
        let begun = Begun { path: "/service/Method".to_owned(), request: request() };
        Recalled { service: "service".to_owned(), key: key.to_owned(), begun, ended, left: LATER }
    }

    #[test]
    fn what_is_recalled_takes_as_much_as_it_did() {
        for (ended, expected) in
            [(Some(Ended::of(&answer())), [0, 1, 0, CALL + ANSWER]), (None, [0, 0, 1, CALL])]
        {
            let mut kept = Kept::default();
            kept.recall(recalled("12345", ended), Instant::now());
            assert_eq!(told(&mut kept), expected);
        }
    }

    #[test]
    fn a_call_that_is_handled_again_is_due_with_its_new_answer_and_others_are_when_they_were() {
        let mut kept = Kept::default();
        for key in ["12345", "other"] {
            kept.recall(recalled(key, None), Instant::now());
        }
        let call = Made { path: "/service/Method", request: &request(), is_idempotent: true };
        assert!(matches!(kept.claim(&name(), call, &BOUNDS), Ok(Standing::New(_))));
        assert_eq!(told(&mut kept), [1, 0, 1, CALL * 2]);
        assert_eq!(kept.due.iter().map(|(_, name)| name.1.as_str()).collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn what_nobody_knows_is_told_of_until_it_is_due() {
        for (due, expected) in [(LATER, [0, 0, 1, CALL]), (Duration::ZERO, [0; 4])] {
            let mut kept = of_a_call(&BOUNDS).unwrap();
            kept.end(&name(), State::Unknown, Some(Instant::now() + due));
            assert_eq!(told(&mut kept), expected);
        }
    }

    #[test]
    fn one_looks_for_what_is_due_while_there_is_something_and_then_another_may() {
        let mut kept = of_a_call(&BOUNDS).unwrap();
        let due = Instant::now() + LATER;
        kept.end(&name(), State::Unknown, Some(due));
        assert!(kept.begin_sweep() && !kept.begin_sweep());
        assert_eq!(kept.next_due(), Some(due));
        assert!(!kept.begin_sweep());
        kept.due.clear();
        assert_eq!(kept.next_due(), None);
        assert!(kept.begin_sweep());
    }
}
