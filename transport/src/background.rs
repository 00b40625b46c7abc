//! Work that outlives its call: a compensation that must come about, a message that must be sent after the answer.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tonic::metadata::MetadataMap;
use tracing::{error, warn};

use crate::context::CallContext;
use crate::deadline;
use crate::status::{Result, Status};

impl CallContext {
    /// Runs `work` on this worker, whatever becomes of the call, until it is done or `limit` has passed.
    ///
    /// It has a context of its own: the same request id in log lines and calls, its own deadline. Nothing but
    /// that deadline ends it early; a panic ends it alone. A drain waits for it, as long as `--drain-timeout`
    /// has it. What a process that is killed was about to do is lost, unless a journal knows of it.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if as much is under way already as the service takes on calls (`--max-calls`);
    /// `FAILED_PRECONDITION` outside of a service's call.
    pub fn spawn(&self, limit: Duration, work: impl Future<Output = ()> + 'static) -> Result<()> {
        let admission = self.admission().ok_or_else(|| {
            Status::failed_precondition("work that outlives its call is spawned from a call of a service")
        })?;
        let permit = admission.admit_background()?;
        let (id, until) = (self.request_id().clone(), deadline::after(limit));
        let context = Self::new(id, until, Some(admission.clone()), *self.caller(), MetadataMap::new());
        let work = AssertUnwindSafe(context.scope(work)).catch_unwind();
        actix_rt::spawn(async move {
            let _permit = permit;
            let ended = deadline::within(until, async { Ok::<_, Status>(work.await) }).await;
            context.sync_scope(|| match ended {
                Ok(Ok(())) => {}
                Ok(Err(_)) => error!("work that outlived its call panicked"),
                Err(_) => warn!(?limit, "work that outlived its call was cut off by its own deadline"),
            });
        });
        Ok(())
    }
}
