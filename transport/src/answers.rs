//! What calls with idempotency keys came to, remembered for a while, so that a repeated call is answered and not handled
//! again. Bounded in time, number and bytes. This file knows no handler; `once.rs` runs those.
//!
//! It is one memory for all workers of a node, since a repeated call may come to another worker. What is remembered is a
//! promise, so nothing is forgotten before its time: where there is no room, a new key is refused. It ends with the
//! process, unless there is a [`KeyStore`]: that is told of each call before it is handled and before it is answered, and
//! what it has kept is remembered by the next process. All that is looked up is in memory, which bounds the store, too.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::gauges::{Gauge, Gauges, Holds, Reading};
use crate::key::Key;
use crate::outcome::{Outcome, size};
use crate::status::{self, NotSent, Result, Status};
use crate::store::{Begun, Ended, Forgotten, KeyStore, Note, Recalled, What};

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

/// The memory of one node. Clones are the same.
#[derive(Clone)]
pub struct Answers(Arc<Inner>);

struct Inner {
    bounds: KeyBounds,
    /// What outlives the process; nothing unless told.
    store: Option<Arc<dyn KeyStore>>,
    /// Only calls with keys take this lock, for a look into a map.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    calls: HashMap<Name, Remembered>,
    /// When each answer is forgotten, in that order.
    due: VecDeque<(Instant, Name)>,
    bytes: usize,
    /// How many of them nobody knows the outcome of.
    unknown: usize,
    is_swept: bool,
}

/// A key belongs to one service. One that an earlier process has kept may be of a service that is here no more.
type Name = (Cow<'static, str>, Key);

/// A call that has a key.
struct Remembered {
    path: Cow<'static, str>,
    /// Its encoding. It is compared itself, and not by a digest: it is there anyway while the call is handled, it counts
    /// like the answer, and nothing that is equal by chance is taken for the same.
    request: Bytes,
    bytes: usize,
    state: State,
}

enum State {
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

/// What is to be done with a call that has a key.
pub(crate) enum Claim {
    /// It is to be handled.
    First(Turn),
    /// It is being handled, and has come to nothing yet.
    Running(Arc<Run>),
    /// It was handled.
    Ended(Outcome),
}

/// How much a key takes besides its own bytes and those of its call.
const ENTRY: usize = 256;

/// What is due is forgotten at least so much later, all at once.
const SWEEP_MIN: Duration = Duration::from_secs(1);

impl Answers {
    /// A memory without answers.
    #[must_use]
    pub fn new(bounds: KeyBounds) -> Self {
        Self(Arc::new(Inner { bounds, store: None, kept: Mutex::default() }))
    }

    /// A memory that `store` keeps beyond the end of the process, with what it has kept of earlier ones. What does not
    /// come up to `bounds` any more is remembered all the same.
    #[must_use]
    pub fn stored(bounds: KeyBounds, store: Arc<dyn KeyStore>, mut recalled: Vec<Recalled>) -> Self {
        let (mut kept, now) = (Kept::default(), Instant::now());
        recalled.sort_by_key(|recalled| recalled.left);
        recalled.into_iter().for_each(|recalled| kept.recall(recalled, now));
        Self(Arc::new(Inner { bounds, store: Some(store), kept: Mutex::new(kept) }))
    }

    /// Lets `gauges` tell how much is remembered.
    pub fn watch(&self, gauges: &Gauges) {
        gauges.watch(&self.0);
    }

    /// Finds out whether this call was made before under the same `key`.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if another call was made under the key; `RESOURCE_EXHAUSTED` if there is no room for one
    /// more.
    pub(crate) fn claim(&self, service: &'static str, key: &Key, call: Made<'_>) -> Result<Claim> {
        let name = (Cow::Borrowed(service), key.clone());
        let mut kept = self.0.lock();
        kept.forget_due(Instant::now());
        if call.is_idempotent {
            kept.forget_unknown(&name, call);
        }
        if let Some(known) = kept.calls.get(&name) {
            return known.claim(call);
        }
        let bytes = ENTRY + key.len() + call.request.len();
        let has_room = kept.calls.len() < self.0.bounds.keys && kept.bytes + bytes <= self.0.bounds.bytes;
        if !has_room {
            return Err(Status::resource_exhausted("as many idempotency keys are remembered as may be"));
        }
        let run = Arc::new(Run::default());
        let state = State::Running(run.clone());
        kept.bytes += bytes;
        // A copy, since what was read may be a piece of a much larger buffer, which would be kept with it.
        let request = Bytes::copy_from_slice(call.request);
        let path = Cow::Borrowed(call.path);
        kept.calls.insert(name.clone(), Remembered { path, request, bytes, state });
        Ok(Claim::First(Turn { answers: self.clone(), name, run, is_over: false }))
    }

    /// Forgets what is due when it is, for as long as there is anything.
    fn sweep(&self) {
        if std::mem::replace(&mut self.0.lock().is_swept, true) {
            return;
        }
        let answers = Arc::downgrade(&self.0);
        actix_rt::spawn(async move {
            while let Some(next) = answers.upgrade().and_then(|answers| answers.lock().next_due()) {
                sleep_until(next.max(Instant::now() + SWEEP_MIN)).await;
            }
        });
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("bounds", &self.0.bounds).finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holds for Inner {
    fn tell(&self, reading: &mut Reading) {
        let mut kept = self.lock();
        kept.forget_due(Instant::now());
        let over = kept.due.len();
        reading.add(Gauge::IdempotencyKeys, "running", "", kept.calls.len() - over);
        reading.add(Gauge::IdempotencyKeys, "answered", "", over - kept.unknown);
        reading.add(Gauge::IdempotencyKeys, "unknown", "", kept.unknown);
        reading.add(Gauge::IdempotencyBytes, "", "", kept.bytes);
    }
}

impl Kept {
    fn forget(&mut self, name: &Name) {
        if let Some(known) = self.calls.remove(name) {
            self.bytes -= known.bytes;
            self.unknown -= usize::from(matches!(known.state, State::Unknown));
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

    /// Remembers what an earlier process has left.
    fn recall(&mut self, recalled: Recalled, now: Instant) {
        let Recalled { service, key, begun: Begun { path, request }, ended, left } = recalled;
        let outcome = ended.map(Ended::into_outcome);
        let name = (Cow::Owned(service), Key::kept(key));
        let bytes = ENTRY + name.1.len() + request.len() + outcome.as_ref().map_or(0, size);
        self.bytes += bytes;
        self.unknown += usize::from(outcome.is_none());
        let state = outcome.map_or(State::Unknown, State::Ended);
        self.due.extend(now.checked_add(left).map(|due| (due, name.clone())));
        self.calls.insert(name, Remembered { path: Cow::Owned(path), request, bytes, state });
    }

    /// What is to be remembered of an outcome for which there may be no room, which is taken.
    fn fit(&mut self, name: &Name, outcome: &Outcome, bounds: &KeyBounds) -> Outcome {
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
    fn end(&mut self, name: &Name, state: State, due: Option<Instant>) {
        let Some(known) = self.calls.get_mut(name) else { return };
        self.unknown += usize::from(matches!(state, State::Unknown));
        known.state = state;
        // A time that no clock counts to never comes.
        self.due.extend(due.map(|due| (due, name.clone())));
    }

    fn forget_due(&mut self, now: Instant) {
        while self.due.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, name)) = self.due.pop_front()
        {
            self.forget(&name);
        }
    }

    /// When the next answer is to be forgotten; nobody looks any more if there is none.
    fn next_due(&mut self) -> Option<Instant> {
        self.forget_due(Instant::now());
        let next = self.due.front().map(|(due, _)| *due);
        self.is_swept = next.is_some();
        next
    }
}

impl Remembered {
    fn is(&self, call: Made<'_>) -> bool {
        self.path == call.path && self.request == call.request
    }

    fn claim(&self, call: Made<'_>) -> Result<Claim> {
        if !self.is(call) {
            return Err(Status::failed_precondition("the idempotency key was used for another call"));
        }
        Ok(match &self.state {
            State::Running(run) => Claim::Running(run.clone()),
            State::Ended(outcome) => Claim::Ended(outcome.clone()),
            State::Unknown => Claim::Ended(Err(Status::aborted(
                "the outcome of the call is unknown: its node ended after it had been taken on",
            ))),
        })
    }
}

/// The permission to handle the call of a key. Who loses it without a word may have handled the call.
pub(crate) struct Turn {
    answers: Answers,
    name: Name,
    run: Arc<Run>,
    is_over: bool,
}

impl Turn {
    /// Has the store keep that the call is about to be handled, if there is one. No handler may begin before that is kept.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE`, with the proof that nobody has handled the call, if the store cannot keep it.
    pub(crate) fn begin(
        &self,
        path: &'static str,
        request: &Bytes,
    ) -> Option<impl Future<Output = Result<()>>> {
        let store = self.answers.0.store.as_ref()?;
        let begun = Begun { path: path.to_owned(), request: request.clone() };
        let kept = store.keep(self.note(What::Begun(begun)));
        Some(kept.map_err(|_| {
            status::not_sent(NotSent::Refused, "the idempotency key cannot be kept: the call was not handled")
        }))
    }

    /// The handler has run, and came to this. Resolves when that is remembered: nobody is to be told before.
    pub(crate) async fn remember(mut self, outcome: &Outcome) {
        let Inner { bounds, store, .. } = &*self.answers.0;
        let outcome = self.answers.0.lock().fit(&self.name, outcome, bounds);
        if let Some(store) = store {
            // The store tells the log where it cannot. The caller has the answer all the same, and so has who asks again
            // while the process lasts; after that it is known that the call was begun, and so it is not handled again.
            store.keep(self.note(What::Ended(Ended::of(&outcome)))).await.ok();
        }
        let due = Instant::now().checked_add(bounds.kept_for);
        self.answers.0.lock().end(&self.name, State::Ended(outcome), due);
        self.is_over = true;
        self.answers.sweep();
    }

    /// It is proven that nobody has handled the call: whoever makes it next is the first.
    pub(crate) fn forget(mut self) {
        if let Some(store) = &self.answers.0.store {
            // Nobody waits for it: without it the call would count as one of which nobody knows.
            drop(store.keep(self.note(What::Forgotten(Forgotten {}))));
        }
        self.answers.0.lock().forget(&self.name);
        self.is_over = true;
    }

    fn note(&self, what: What) -> Note {
        let (service, key) = &self.name;
        Note { service: service.clone().into_owned(), key: key.as_str().to_owned(), what: Some(what) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            let due = Instant::now().checked_add(self.answers.0.bounds.kept_for);
            self.answers.0.lock().end(&self.name, State::Unknown, due);
        }
        self.run.end();
    }
}

/// A call with a key while it is being handled.
#[derive(Default)]
pub(crate) struct Run {
    has_ended: AtomicBool,
    ended: Notify,
}

impl Run {
    /// Resolves when it is not handled any more.
    pub(crate) async fn ended(&self) {
        // Listening comes before looking, so that an end in between is not missed.
        let ended = self.ended.notified();
        if !self.has_ended.load(Ordering::SeqCst) {
            ended.await;
        }
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.ended.notify_waiters();
    }
}
