//! What calls with idempotency keys came to, remembered for a while, so that a repeated call is answered and not handled
//! again. Bounded in time, number and bytes. This file knows no handler; `once.rs` runs those.
//!
//! It is one memory for all workers of a node, since a repeated call may come to another worker. What is remembered is a
//! promise, so nothing is forgotten before its time: where there is no room, a new key is refused. It ends with the
//! process.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tonic::metadata::MetadataMap;

use crate::gauges::{Gauge, Gauges, Holds, Reading};
use crate::key::Key;
use crate::metadata;
use crate::status::{Result, Status};

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
    /// Only calls with keys take this lock, for a look into a map.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    calls: HashMap<Name, Remembered>,
    /// When each answer is forgotten, in that order.
    due: VecDeque<(Instant, Name)>,
    bytes: usize,
    is_swept: bool,
}

/// A key belongs to one service.
type Name = (&'static str, Key);

/// A call that has a key.
struct Remembered {
    path: &'static str,
    /// Its encoding. It is compared itself, and not by a digest: it is there anyway while the call is handled, it counts
    /// like the answer, and nothing that is equal by chance is taken for the same.
    request: Bytes,
    bytes: usize,
    state: State,
}

enum State {
    Running(Arc<Run>),
    Ended(Outcome),
}

/// What a handler came to.
pub(crate) type Outcome = Result<Answer>;

/// What a handler answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) metadata: MetadataMap,
    pub(crate) message: Bytes,
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
        Self(Arc::new(Inner { bounds, kept: Mutex::default() }))
    }

    /// Lets `gauges` tell how much is remembered.
    pub fn watch(&self, gauges: &Gauges) {
        gauges.watch(&self.0);
    }

    /// Finds out whether the call of `path` with this `request` was made before under the same `key`.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if another call was made under the key; `RESOURCE_EXHAUSTED` if there is no room for one
    /// more.
    pub(crate) fn claim(
        &self,
        service: &'static str,
        key: &Key,
        (path, request): (&'static str, &Bytes),
    ) -> Result<Claim> {
        let name = (service, key.clone());
        let mut kept = self.0.lock();
        kept.forget_due(Instant::now());
        if let Some(known) = kept.calls.get(&name) {
            return known.claim(path, request);
        }
        let bytes = ENTRY + key.len() + request.len();
        let has_room = kept.calls.len() < self.0.bounds.keys && kept.bytes + bytes <= self.0.bounds.bytes;
        if !has_room {
            return Err(Status::resource_exhausted("as many idempotency keys are remembered as may be"));
        }
        let run = Arc::new(Run::default());
        let state = State::Running(run.clone());
        kept.bytes += bytes;
        kept.calls.insert(name.clone(), Remembered { path, request: request.clone(), bytes, state });
        Ok(Claim::First(Turn { answers: self.clone(), name, run, is_remembered: false }))
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
        let ended = kept.due.len();
        reading.add(Gauge::IdempotencyKeys, "running", "", kept.calls.len() - ended);
        reading.add(Gauge::IdempotencyKeys, "answered", "", ended);
        reading.add(Gauge::IdempotencyBytes, "", "", kept.bytes);
    }
}

impl Kept {
    fn forget(&mut self, name: &Name) {
        if let Some(known) = self.calls.remove(name) {
            self.bytes -= known.bytes;
        }
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
    fn claim(&self, path: &'static str, request: &Bytes) -> Result<Claim> {
        if self.path != path || self.request != request {
            return Err(Status::failed_precondition("the idempotency key was used for another call"));
        }
        Ok(match &self.state {
            State::Running(run) => Claim::Running(run.clone()),
            State::Ended(outcome) => Claim::Ended(outcome.clone()),
        })
    }
}

/// The permission to handle the call of a key. Where nothing is remembered of that, the next one may.
pub(crate) struct Turn {
    answers: Answers,
    name: Name,
    run: Arc<Run>,
    is_remembered: bool,
}

impl Turn {
    /// The handler has run, and came to this.
    pub(crate) fn remember(mut self, outcome: &Outcome) {
        let Inner { bounds, .. } = &*self.answers.0;
        let mut guard = self.answers.0.lock();
        let kept = &mut *guard;
        let (bytes, left) = (size(outcome), bounds.bytes - kept.bytes);
        let Some(known) = kept.calls.get_mut(&self.name) else { return };
        if bytes <= left {
            known.state = State::Ended(outcome.clone());
            known.bytes += bytes;
            kept.bytes += bytes;
        } else {
            known.state = State::Ended(Err(Status::already_exists(
                "the call was handled, and there was no room to remember its answer",
            )));
        }
        // A time that no clock counts to never comes.
        if let Some(due) = Instant::now().checked_add(bounds.kept_for) {
            kept.due.push_back((due, self.name.clone()));
        }
        drop(guard);
        self.is_remembered = true;
        self.answers.sweep();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_remembered {
            self.answers.0.lock().forget(&self.name);
        }
        self.run.end();
    }
}

fn size(outcome: &Outcome) -> usize {
    match outcome {
        Ok(answer) => metadata::size(answer.metadata.as_ref()) + answer.message.len(),
        Err(status) => {
            metadata::size(status.metadata().as_ref()) + status.message().len() + status.details().len()
        }
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
