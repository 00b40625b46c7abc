//! The carrier of calls between services on the same worker: nothing is serialised.
//!
//! Everything else is as over a wire: limits, deadline, cancellation, statuses, metadata. In debug
//! builds the messages of every eighth call take a trip through their encoding, to prove that the wire would not
//! have changed them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use tower::Service;

use crate::channel::{Request, Response};
use crate::context::CallContext;
use crate::criticality::Criticality;
use crate::metadata;
use crate::net::CallerAddress;
use crate::payload::{Message, MessageStream, Payload};
use crate::router::{Router, WeakRouter};
use crate::status::{self, NotSent, Result, Status};

/// Hands calls to the router of this worker. Cheap to clone.
///
/// It exists before its router does, since the services there hold clients of each other.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    router: Arc<OnceLock<WeakRouter>>,
    carried: Arc<AtomicUsize>,
}

impl Memory {
    /// A carrier that leads nowhere yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leads to `router` from now on; only the first time counts.
    pub fn lead_to(&self, router: &Router) {
        self.router.get_or_init(|| router.downgrade());
    }
}

impl Service<Request> for Memory {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.clone().carry(request))
    }
}

impl Memory {
    async fn carry(self, request: Request) -> Result<Response> {
        let router = self.router.get().and_then(WeakRouter::upgrade);
        let router =
            router.ok_or_else(|| status::not_sent(NotSent::Unreachable, "the worker is shutting down"))?;
        let endpoint = router.endpoint(request.path).ok_or_else(|| status::unknown_method(request.path))?;
        let metadata = request.metadata.into_headers();
        let criticality = Criticality::said(&metadata).unwrap_or_default();
        let context = CallContext::new(
            request.request_id,
            request.deadline,
            Some(endpoint.admission.clone()),
            CallerAddress::Memory,
            metadata::of_user(metadata),
        )
        .mattering(criticality)
        .repeated_outside(request.repeated_outside)
        .counting_attempts(request.trail.attempts().cloned())
        .part_of_current();
        let permit = endpoint.admit(&context)?;
        // In debug builds every eighth call is encoded and decoded, to prove that its messages survive that. Calls are
        // counted and not messages, so that what one stream sends changes nothing for the next call.
        let prove = cfg!(debug_assertions) && self.carried.fetch_add(1, Ordering::Relaxed).is_multiple_of(8);
        let body = if prove { round_trip(request.body) } else { request.body };
        let answer = endpoint.call(permit, &context, body).await;
        let mut response = answer.map_err(without_pushback)?;
        if prove {
            response.body = round_trip(response.body);
        }
        response.body = looking_ahead(response.body);
        Ok(response)
    }
}

/// What a callee says of being called again is for its caller, and not for the caller's own: over a wire it ends there, too.
fn without_pushback(mut status: Status) -> Status {
    let own = std::mem::take(status.metadata_mut());
    *status.metadata_mut() = metadata::of_user(own.into_headers());
    status
}

/// Looks for the end of a streamed answer when a message of it is read: a caller who knows that it was the last does not
/// ask for more, and over a wire the end comes along.
fn looking_ahead(body: Payload) -> Payload {
    match body {
        Payload::One(_) => body,
        Payload::Stream(messages) => {
            Payload::Stream(LookingAhead { messages: Some(messages), next: None }.boxed())
        }
    }
}

struct LookingAhead {
    /// None once the stream has ended.
    messages: Option<MessageStream>,
    next: Option<Result<Message>>,
}

impl LookingAhead {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
        let item = ready!(messages.poll_next_unpin(cx)).map(|item| item.map_err(without_pushback));
        if !matches!(item, Some(Ok(_))) {
            self.messages = None;
        }
        Poll::Ready(item)
    }
}

impl Stream for LookingAhead {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = match self.next.take() {
            None => ready!(self.poll(cx)),
            next => next,
        };
        if let Poll::Ready(next) = self.poll(cx) {
            self.next = next;
        }
        Poll::Ready(item)
    }
}

/// Sends every message through its encoding.
fn round_trip(body: Payload) -> Payload {
    match body {
        Payload::One(message) => Payload::One(message.round_trip()),
        Payload::Stream(messages) => {
            Payload::Stream(messages.map(|item| item.map(Message::round_trip)).boxed())
        }
    }
}
