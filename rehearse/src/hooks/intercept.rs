//! Brings the faults of the plan to handlers, and tells when each handler runs.

use futures_util::future::{BoxFuture, FutureExt as _};
use sim::CallFault;
use tokio::time::{Instant, sleep};
use transport::call::{Held, Interceptor};
use transport::{CallContext, CallerAddress, Result, Status};

use crate::facts::{
    Added, HandlerBegun, HandlerBegunLate, HandlerDisturbed, HandlerEnded, RequestAwaited, RequestCame,
};

/// Runs around the handlers of one worker.
#[derive(Debug)]
pub(crate) struct Disturbed {
    pub(crate) worker: u16,
}

impl Interceptor for Disturbed {
    fn admit<'a>(
        &'a self,
        context: &'a CallContext,
        path: &'static str,
        is_streaming: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Held>>> {
        let running = Running::begin(self.worker, context, path, is_streaming);
        async move {
            sim::turn().await;
            let fault = sim::call_fault();
            if let Some(by) = fault {
                let service = running.ended.service;
                sim::tell(HandlerDisturbed { service, path, by }, Some(&running.request_id));
            }
            match fault {
                Some(CallFault::Slow(delay)) => sleep(delay).await,
                Some(CallFault::Full) => return Err(Status::resource_exhausted("full, says the plan")),
                Some(CallFault::Panic) | None => {}
            }
            let panics = fault == Some(CallFault::Panic);
            Ok(Box::new(Handler { running, panics, deadline: context.deadline() }) as Box<dyn Held>)
        }
        .boxed()
    }

    fn awaits_request(
        &self,
        context: &CallContext,
        path: &'static str,
        is_streaming: bool,
    ) -> Option<Box<dyn Held>> {
        let (service, worker) = (context.service().unwrap_or_default(), self.worker);
        let request_id = context.request_id().as_str().to_owned();
        sim::tell(RequestAwaited { service, path, worker, is_streaming }, Some(&request_id));
        Some(Box::new(Awaited { request_id, came: RequestCame { service, path, worker, is_streaming } }))
    }
}

/// A call that was admitted and not read yet: dropped when it was, or has ended.
struct Awaited {
    request_id: String,
    came: RequestCame,
}

impl Held for Awaited {}

impl Drop for Awaited {
    fn drop(&mut self) {
        sim::tell(self.came, Some(&self.request_id));
    }
}

/// A handler that was let in.
struct Handler {
    running: Running,
    panics: bool,
    deadline: Option<Instant>,
}

impl Held for Handler {
    fn begin(&self) {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let HandlerEnded { service, path, .. } = self.running.ended;
            sim::tell(HandlerBegunLate { service, path }, Some(&self.running.request_id));
        }
        if self.panics {
            sim::planned_panic();
        }
    }
}

/// A handler at work: dropped when it is done, and its streamed answer has ended.
struct Running {
    request_id: String,
    ended: HandlerEnded,
}

impl Running {
    fn begin(worker: u16, context: &CallContext, path: &'static str, is_streaming: bool) -> Self {
        let service = context.service().unwrap_or_default();
        let request_id = context.request_id().as_str().to_owned();
        let is_local = matches!(context.caller(), CallerAddress::Memory);
        let left = context.remaining();
        let is_repeated = context.is_repeated_outside();
        let added = Some(Added::seen(context.metadata().as_ref(), context.criticality()));
        let begun = HandlerBegun { service, path, worker, is_streaming, left, is_local, is_repeated, added };
        sim::tell(begun, Some(&request_id));
        Self { request_id, ended: HandlerEnded { service, path, worker, is_streaming } }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        sim::tell(self.ended, Some(&self.request_id));
    }
}
