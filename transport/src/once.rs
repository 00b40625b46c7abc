//! Handles a call with an idempotency key once, however often it is made: also where two come in the same moment, and
//! where the caller of the first has gone before there was an answer.
//!
//! A handler that was cut off half-way has run, so that here it is not cancelled with its caller. It goes on within its
//! deadline, holds its permit, and a drain waits for it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::answers::{Claim, First};
use crate::channel::Response;
use crate::context::CallContext;
use crate::deadline;
use crate::endpoint::Endpoint;
use crate::kept::Made;
use crate::key::Key;
use crate::outcome::{Answer, Outcome};
use crate::payload::{Message, Payload};
use crate::status::{Result, Status};

impl Endpoint {
    /// Answers a call that was admitted and has been read: by its actor, or, where it has an idempotency key, by what
    /// that came to when the call was made before.
    pub(crate) async fn call(
        self: &Arc<Self>,
        permit: Permit,
        context: &CallContext,
        body: Payload,
    ) -> Result<Response> {
        let key = if self.has_effects && self.is_unary() { Key::of(context.metadata())? } else { None };
        match key {
            None => self.handle(permit, context, body).await,
            Some(key) => once(self, key, permit, context, body).await,
        }
    }
}

/// Answers the call with what its handler came to, now or when it was made first.
async fn once(
    endpoint: &Arc<Endpoint>,
    key: Key,
    permit: Permit,
    context: &CallContext,
    body: Payload,
) -> Result<Response> {
    let request = body.single().await?.encoded();
    let (answers, service) = (&endpoint.answers, endpoint.admission.service);
    let call = Made { path: endpoint.path, request: &request, is_idempotent: endpoint.is_idempotent };
    let outcome = loop {
        match answers.claim(service, &key, call)? {
            Claim::First(first) => {
                let answer = begin(endpoint.clone(), first, permit, context.clone(), request.clone());
                // Nobody is left to tell it only where the worker has gone.
                let lost = |_| Err(Status::unavailable("the worker is shutting down"));
                break answer.await.unwrap_or_else(lost);
            }
            Claim::Running(run) => {
                let _waits = endpoint.waits(context);
                run.ended().await;
            }
            Claim::Ended(outcome) => break outcome,
        }
    };
    let Answer { metadata, message } = outcome?;
    Ok(Response { metadata, body: Payload::One(Message::Encoded(message)) })
}

/// Begins to handle the call here and now, as that of any other; what is left then is done whoever waits for it.
fn begin(
    endpoint: Arc<Endpoint>,
    first: First,
    permit: Permit,
    context: CallContext,
    request: Bytes,
) -> oneshot::Receiver<Outcome> {
    let (tell, told) = oneshot::channel();
    let mut work = Box::pin(async move {
        let _open = endpoint.admission.drain.work();
        let outcome = match note(&endpoint, &first, &context, &request).await {
            // Nobody waits for an answer any more, and nothing has begun.
            Ok(()) if tell.is_closed() => Err(Status::cancelled("the caller has gone")),
            Ok(()) => handle(&endpoint, permit, &context, request).await,
            Err(status) => Err(status),
        };
        if context.has_begun() {
            first.remember(&outcome).await;
        } else {
            // It is proven that nobody has handled it: whoever waits is the next to try.
            first.forget();
        }
        // An error means that the caller has gone.
        tell.send(outcome).ok();
    });
    // A new task is polled at once, so no wake-up of this first poll is missed.
    if work.as_mut().now_or_never().is_none() {
        actix_rt::spawn(work);
    }
    told
}

/// Waits until no later process can take the call for one that was never made, where keys outlive the process. It waits
/// with its permit for as long as the store takes, though its caller may have gone by then: so no more is asked of a store
/// that hangs than calls are taken on.
async fn note(endpoint: &Endpoint, first: &First, context: &CallContext, request: &Bytes) -> Result<()> {
    let Some(kept) = first.begin(endpoint.path, request) else { return Ok(()) };
    let _waits = endpoint.waits(context);
    kept.await
}

async fn handle(endpoint: &Endpoint, permit: Permit, context: &CallContext, request: Bytes) -> Outcome {
    let body = Payload::One(Message::Encoded(request));
    let handled = deadline::within(context.deadline(), endpoint.handle(permit, context, body));
    let Response { metadata, body } = context.scope(handled).await?;
    Ok(Answer { metadata, message: body.single().await?.encoded() })
}
