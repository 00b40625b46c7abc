//! How much a service takes on at once. One call more is refused at once, before it is read any further.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::drain::{Drain, OpenWork};
use crate::limits::Limits;
use crate::status::{Result, Status};

/// What one service has taken on: on one worker, or in the node where that is where its actor lives.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) service: &'static str,
    pub(crate) drain: Drain,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    background: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(service: &'static str, limits: Limits, drain: Drain) -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        let (calls, streams) = (semaphore(limits.calls), semaphore(limits.streams));
        Self { service, drain, calls, streams, background: semaphore(limits.calls) }
    }

    /// Takes on a call, or refuses it. Calls with a streamed request or answer are counted apart.
    pub(crate) fn admit(&self, is_streaming: bool) -> Result<Permit> {
        let (semaphore, what) =
            if is_streaming { (&self.streams, "streams") } else { (&self.calls, "calls") };
        let permit = semaphore.clone().try_acquire_owned();
        let permit = permit.map_err(|_| self.refusal(what))?;
        Ok(Permit(Arc::new(permit)))
    }

    /// Takes on work that outlives its call, or refuses it.
    pub(crate) fn admit_background(&self) -> Result<BackgroundPermit> {
        let permit = self.background.clone().try_acquire_owned();
        let permit = permit.map_err(|_| self.refusal("background tasks"))?;
        Ok(BackgroundPermit { _permit: permit, _open: self.drain.work() })
    }

    fn refusal(&self, what: &str) -> Status {
        Status::resource_exhausted(format!("{} has as many {what} as it takes on", self.service))
    }
}

/// The permission for one call to be handled. The handler holds it until it is done or dropped, which may be a
/// scheduling turn after its caller has gone, and a streamed answer until it ends. Clones are one permit.
#[derive(Debug, Clone)]
pub(crate) struct Permit(
    #[expect(dead_code, reason = "it is there to be dropped")] Arc<OwnedSemaphorePermit>,
);

/// The permission for work that outlives its call; the drain waits for it.
#[derive(Debug)]
pub(crate) struct BackgroundPermit {
    _permit: OwnedSemaphorePermit,
    _open: OpenWork,
}
