//! What travels with a call, besides its message.

use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::admission::Admission;
use crate::budget::Buffered;
use crate::criticality::Criticality;
use crate::gauges::Count;
use crate::net::CallerAddress;
use crate::request_id::RequestId;

tokio::task_local! {
    static CURRENT: CallContext;
}

/// What travels with one call: request id, deadline, metadata, and who calls. Cheap to clone.
///
/// While a handler runs, its context is the *current* one: log lines carry its request id, and calls
/// made from within inherit request id and remaining deadline with nothing said. The handler is what is given to
/// [`Call::answer`](crate::Call::answer) and its like, which is where a call is let in: what an actor does before that,
/// in actix's own `handle`, belongs to no call, unless [`sync_scope`](Self::sync_scope) says so. Cancellation needs no
/// token: the future of a call that has ended is dropped, and with it the calls that it was waiting for.
#[derive(Debug, Clone)]
pub struct CallContext(Arc<Inner>);

/// What is kept while a call lasts, and the work that outlives it: the actor of its key.
pub(crate) type Lease = Arc<dyn Any + Send + Sync>;

#[derive(Debug)]
struct Inner {
    request_id: RequestId,
    deadline: Option<Instant>,
    criticality: Criticality,
    /// The service that is called, if it is one that is here.
    admission: Option<Arc<Admission>>,
    caller: CallerAddress,
    metadata: MetadataMap,
    answer: Mutex<MetadataMap>,
    panicked: AtomicBool,
    begun: AtomicBool,
    lease: OnceLock<Lease>,
    /// What an edge holds for the call itself; nothing where it came over memory.
    buffered: Option<Buffered>,
    /// The call that came over an edge, if this one is part of it and came over memory. It may end first, as when its actor
    /// keeps a stream.
    outer: Weak<Inner>,
    repeated_outside: bool,
    /// How many attempts this node makes for the request, where its edge tells.
    attempts: Option<Arc<Count>>,
}

impl CallContext {
    pub(crate) fn new(
        request_id: RequestId,
        deadline: Option<Instant>,
        admission: Option<Arc<Admission>>,
        caller: CallerAddress,
        metadata: MetadataMap,
    ) -> Self {
        Self(Arc::new(Inner {
            request_id,
            deadline,
            criticality: Criticality::Default,
            admission,
            caller,
            metadata,
            answer: Mutex::default(),
            panicked: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            lease: OnceLock::new(),
            buffered: None,
            outer: Weak::new(),
            repeated_outside: false,
            attempts: None,
        }))
    }

    /// One of a call that nobody makes.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self::new(RequestId::fresh(), None, None, CallerAddress::Memory, MetadataMap::new())
    }

    /// The context of the call that is being handled here and now, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Looks at the current context without cloning it.
    pub fn with_current<R>(look: impl FnOnce(Option<&Self>) -> R) -> R {
        let mut look = Some(look);
        let seen = CURRENT.try_with(|context| {
            let look = look.take().expect("this closure runs at most once");
            look(Some(context))
        });
        seen.unwrap_or_else(|_| {
            let look = look.take().expect("the first closure did not run");
            look(None)
        })
    }

    /// The id of the request that this call is part of.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// When the call ends at the latest. None: its caller set no limit, which only streaming calls may do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// How much of the deadline is left; zero once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.0.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the deadline has passed. A machine that was paused may find so before any timer tells of it.
    pub(crate) fn is_late(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// How much it matters that the call is answered.
    #[must_use]
    pub fn criticality(&self) -> Criticality {
        self.0.criticality
    }

    /// The service that is called.
    #[must_use]
    pub fn service(&self) -> Option<&'static str> {
        self.0.admission.as_ref().map(|admission| admission.service)
    }

    /// Who calls.
    #[must_use]
    pub fn caller(&self) -> &CallerAddress {
        &self.0.caller
    }

    /// The metadata that came with the call, without what gRPC and this crate keep for themselves; of a REST
    /// request, those headers that the node lets through.
    #[must_use]
    pub fn metadata(&self) -> &MetadataMap {
        &self.0.metadata
    }

    /// Whether its caller, or somebody further out, may repeat it when it fails. Calls that are made for it are not
    /// repeated then: were they, attempts would multiply with every hop.
    #[must_use]
    pub fn is_repeated_outside(&self) -> bool {
        self.0.repeated_outside
    }

    /// Adds to the metadata of the answer, be it a message or an error. Over REST they become headers.
    pub fn answer_metadata(&self, add: impl FnOnce(&mut MetadataMap)) {
        add(&mut self.0.answer.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Resolves when the node begins to drain: a long stream then ends in good order, for instance by
    /// `take_until`. Until `--drain-timeout` is over nothing is cut off.
    pub async fn drain_started(&self) {
        match &self.0.admission {
            Some(admission) => admission.drain.started().await,
            None => std::future::pending().await,
        }
    }

    /// Keeps `lease` for as long as there is this context.
    pub(crate) fn keep(&self, lease: Lease) {
        // There is one actor for a call, and so one lease.
        self.0.lease.set(lease).ok();
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.0.lease.get()
    }

    /// Says how much the call matters; nobody else has seen its context yet.
    #[must_use]
    pub(crate) fn mattering(mut self, criticality: Criticality) -> Self {
        Arc::get_mut(&mut self.0).expect("nobody else has seen it yet").criticality = criticality;
        self
    }

    /// It was made, over memory, where the current one is handled.
    #[must_use]
    pub(crate) fn part_of_current(mut self) -> Self {
        let outer = Self::with_current(|current| match current {
            Some(current) if current.buffered().is_some() => Arc::downgrade(&current.0),
            Some(current) => current.0.outer.clone(),
            None => Weak::new(),
        });
        Arc::get_mut(&mut self.0).expect("nobody else has seen it yet").outer = outer;
        self
    }

    /// Counts what an edge holds for the call, for as long as there is this context, which is a new one.
    #[must_use]
    pub(crate) fn counting(mut self, buffered: Buffered) -> Self {
        Arc::get_mut(&mut self.0).expect("nobody else has seen it yet").buffered = Some(buffered);
        self
    }

    /// Notes whether somebody further out may repeat the call, of which this is a new context.
    #[must_use]
    pub(crate) fn repeated_outside(mut self, is_repeated: bool) -> Self {
        Arc::get_mut(&mut self.0).expect("nobody else has seen it yet").repeated_outside = is_repeated;
        self
    }

    /// Counts the attempts of calls that are made for it among `attempts`, if these are counted; this is a new context.
    #[must_use]
    pub(crate) fn counting_attempts(mut self, attempts: Option<Arc<Count>>) -> Self {
        Arc::get_mut(&mut self.0).expect("nobody else has seen it yet").attempts = attempts;
        self
    }

    /// What attempts of calls that are made for it count among.
    pub(crate) fn attempts(&self) -> Option<&Arc<Count>> {
        self.0.attempts.as_ref()
    }

    /// What an edge holds for the call itself; nothing where it came over memory.
    pub(crate) fn buffered(&self) -> Option<&Buffered> {
        self.0.buffered.as_ref()
    }

    /// The call for which an edge holds what is held for this one: itself, or the one that it is part of.
    pub(crate) fn outside(&self) -> Option<Self> {
        if self.buffered().is_some() { Some(self.clone()) } else { self.0.outer.upgrade().map(Self) }
    }

    pub(crate) fn admission(&self) -> Option<&Arc<Admission>> {
        self.0.admission.as_ref()
    }

    pub(crate) fn take_answer_metadata(&self) -> MetadataMap {
        std::mem::take(&mut self.0.answer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the actor died over this call.
    pub(crate) fn has_panicked(&self) -> bool {
        self.0.panicked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_panicked(&self) {
        self.0.panicked.store(true, Ordering::Relaxed);
    }

    /// Whether a handler has begun, so that nobody can say any more that the call was not handled.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed) || self.has_panicked()
    }

    pub(crate) fn set_begun(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
    }

    /// Makes this the current context while `future` is polled, and while it is dropped.
    pub(crate) fn scope<F: Future>(&self, future: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self.clone(), future)
    }

    /// Makes this the current context during `act`: for what stands before `Call::answer` and belongs to the call all the same.
    pub fn sync_scope<R>(&self, act: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::gauges::Gauges;

    #[test]
    fn calls_over_memory_know_the_call_outside_and_do_not_keep_it() {
        let budget = Budget::new(1 << 20, &Gauges::new());
        let outer = CallContext::of_nobody().counting(Buffered::alone(&budget));
        let inner = outer.sync_scope(|| CallContext::of_nobody().part_of_current());
        let innermost = inner.sync_scope(|| CallContext::of_nobody().part_of_current());
        assert!(inner.outside().is_some() && innermost.outside().is_some());
        drop(outer);
        assert!(inner.outside().is_none() && innermost.outside().is_none());
    }
}
