//! Work that outlives its call: a compensation that must come about, a message that must be sent after the answer.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tonic::metadata::MetadataMap;
use tracing::{error, warn};

use crate::context::CallContext;
use crate::deadline;
use crate::net::CallerAddress;
use crate::request_id::RequestId;
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
        let context = Self::new(id, until, Some(admission.clone()), *self.caller(), MetadataMap::new())
            .mattering(self.criticality());
        // The work holds the lease of its actor, so that the actor of a key is not given up as idle meanwhile.
        self.lease().into_iter().for_each(|lease| context.keep(lease.clone()));
        actix_rt::spawn(async move {
            let _permit = permit;
            context.run_to_its_end(limit, work).await;
        });
        Ok(())
    }

    /// Goes on with work of an earlier process, from a journal, say when an actor starts: it has the id of the request
    /// that it is for, and `limit` as its own deadline. Nothing but that ends it early; no drain waits for it, since
    /// what is resumed once can be resumed again.
    pub fn resume(id: RequestId, limit: Duration, work: impl Future<Output = ()> + 'static) {
        let until = deadline::after(limit);
        let context = Self::new(id, until, None, CallerAddress::Memory, MetadataMap::new());
        actix_rt::spawn(async move { context.run_to_its_end(limit, work).await });
    }

    async fn run_to_its_end(&self, limit: Duration, work: impl Future<Output = ()>) {
        let work = AssertUnwindSafe(self.scope(work)).catch_unwind();
        let ended = deadline::within(self.deadline(), async { Ok::<_, Status>(work.await) }).await;
        self.sync_scope(|| match ended {
            Ok(Ok(())) => {}
            Ok(Err(_)) => error!("work that outlived its call panicked"),
            Err(_) => warn!(?limit, "work that outlived its call was cut off by its own deadline"),
        });
    }
}
