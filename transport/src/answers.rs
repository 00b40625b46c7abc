//! What calls with idempotency keys came to, remembered for a while, so that a repeated call is answered and not handled
//! again. Bounded in time, number and bytes. This file knows no handler; `once.rs` runs those.
//!
//! It is one memory for all workers of a node, since a repeated call may come to another worker. What is remembered is a
//! promise, so nothing is forgotten before its time: where there is no room, a new key is refused. It ends with the
//! process, unless there is a [`KeyStore`]: that is told of each call before it is handled and before it is answered, and
//! what it has kept is remembered by the next process. All that is looked up is in memory, which bounds the store, too.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use tokio::time::{Instant, sleep_until};

use crate::gauges::{Gauges, Holds, Reading};
use crate::kept::{Kept, KeyBounds, Made, Name, Run, Standing, State};
use crate::key::Key;
use crate::outcome::Outcome;
use crate::status::{self, NotSent, Result};
use crate::store::{Begun, Ended, Forgotten, KeyStore, Note, Recalled, What};
use crate::tasks::Tasks;

/// The memory of one node. Clones are the same.
#[derive(Clone)]
pub struct Answers(Arc<Inner>);

struct Inner {
    bounds: KeyBounds,
    /// What outlives the process; nothing unless told.
    store: Option<Arc<dyn KeyStore>>,
    /// Only calls with keys take this lock, for a look into a map.
    kept: Mutex<Kept>,
    /// What forgets them, while there are any.
    forgetting: Tasks,
}

/// What is to be done with a call that has a key.
pub(crate) enum Claim {
    /// It is to be handled.
    First(First),
    /// It is being handled, and has come to nothing yet.
    Running(Arc<Run>),
    /// It was handled.
    Ended(Outcome),
}

/// What is due is forgotten at least so much later, all at once.
const SWEEP_MIN: Duration = Duration::from_secs(1);

impl Answers {
    /// A memory without answers.
    #[must_use]
    pub fn new(bounds: KeyBounds) -> Self {
        Self(Inner::new(bounds, None, Kept::default()))
    }

    /// A memory that `store` keeps beyond the end of the process, with what it has kept of earlier ones. What does not
    /// come up to `bounds` any more is remembered all the same.
    #[must_use]
    pub fn stored(bounds: KeyBounds, store: Arc<dyn KeyStore>, mut recalled: Vec<Recalled>) -> Self {
        let (mut kept, now) = (Kept::default(), Instant::now());
        recalled.sort_by_key(|recalled| recalled.left);
        recalled.into_iter().for_each(|recalled| kept.recall(recalled, now));
        Self(Inner::new(bounds, Some(store), kept))
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
        let Inner { bounds, .. } = &*self.0;
        Ok(match self.0.lock().claim(&name, call, bounds)? {
            Standing::New(run) => Claim::First(First { answers: self.clone(), name, run, is_over: false }),
            Standing::Running(run) => Claim::Running(run),
            Standing::Ended(outcome) => Claim::Ended(outcome),
        })
    }

    /// Forgets what is due when it is, for as long as there is anything.
    fn sweep(&self) {
        if !self.0.lock().begin_sweep() {
            return;
        }
        let answers = Arc::downgrade(&self.0);
        self.0.forgetting.spawn(async move {
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
    fn new(bounds: KeyBounds, store: Option<Arc<dyn KeyStore>>, kept: Kept) -> Arc<Self> {
        Arc::new(Self { bounds, store, kept: Mutex::new(kept), forgetting: Tasks::new("forgetting") })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holds for Inner {
    fn tell(&self, reading: &mut Reading) {
        self.lock().tell(reading);
        self.forgetting.tell("idempotency", reading);
    }
}

/// The permission to handle the call of a key. Who loses it without a word may have handled the call.
pub(crate) struct First {
    answers: Answers,
    name: Name,
    run: Arc<Run>,
    is_over: bool,
}

impl First {
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
            // Nobody waits for it: where it is not kept, the call counts as one of which nobody knows.
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

impl Drop for First {
    fn drop(&mut self) {
        if !self.is_over {
            let due = Instant::now().checked_add(self.answers.0.bounds.kept_for);
            self.answers.0.lock().end(&self.name, State::Unknown, due);
        }
        self.run.end();
    }
}
