//! The one seam between a call and what carries it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tower::Service;

use crate::payload::{Message, Payload};
use crate::policy::Policy;
use crate::request_id::RequestId;
use crate::status::{Result, Status};
use crate::trail::Trail;

/// Carries calls: memory, or gRPC over some network. Everything above it is a tower layer, and what is below is boxed once
/// for each call and not copied for it, as a boxed service of tower's is.
///
/// Whatever carries it, a call ends exactly once; dropping its future cancels it, up to and including
/// a running handler. A carrier enforces no deadline (the layer above does) but passes it on.
#[derive(Clone)]
pub struct Channel(Arc<Carry>);

type Carry = dyn Fn(Request) -> BoxFuture<'static, Result<Response>> + Send + Sync;

impl Channel {
    /// Boxes a carrier. It is not asked whether it is ready: to become so is part of the call, so that the deadline covers
    /// it too.
    pub fn new<C>(carrier: C) -> Self
    where
        C: Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
        C::Future: Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(carrier.clone().call(request))))
    }

    /// Carries one call.
    pub(crate) fn carry(&self, request: Request) -> BoxFuture<'static, Result<Response>> {
        (self.0)(request)
    }
}

impl Service<Request> for Channel {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.carry(request)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

/// A call on its way out.
#[derive(Debug)]
pub struct Request {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Whether the response is a stream.
    pub streaming: bool,
    /// The request that this call is part of.
    pub request_id: RequestId,
    /// When it ends at the latest; this travels.
    pub deadline: Option<Instant>,
    /// When a streamed answer must have begun; what comes then may take its time.
    pub starts_by: Option<Instant>,
    /// Whether it waits for a connection where all addresses are down, until its deadline, in place of failing at once.
    pub wait_for_ready: bool,
    /// What holds for it.
    pub policy: Arc<Policy>,
    /// Whether its contract says that calling twice is the same as calling once.
    pub idempotent: bool,
    /// Whether somebody further out may repeat it, or the call that it is made for: then the callee repeats none of the
    /// calls that it makes for it (`x-caller-repeats`).
    pub repeated_outside: bool,
    /// Which attempt of its call this is, from 0; the callee is told of those before (`grpc-previous-rpc-attempts`, gRFC A6).
    pub attempt: u32,
    /// Where the attempts of its call went.
    pub trail: Trail,
    /// What the caller adds.
    pub metadata: MetadataMap,
    /// What is asked.
    pub body: Payload,
}

impl Request {
    /// When its answer must have begun, at the latest.
    pub(crate) fn begins_by(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.starts_by).min()
    }

    /// The same request, as another attempt of its call. Its message is encoded now, so that copies of it cost nothing;
    /// none if it is a stream, of which nobody has a copy.
    pub(crate) fn copied(&mut self, attempt: u32) -> Option<Self> {
        let Payload::One(message) = &mut self.body else { return None };
        let bytes = std::mem::replace(message, Message::Encoded(Bytes::new())).encoded();
        *message = Message::Encoded(bytes.clone());
        Some(Self {
            request_id: self.request_id.clone(),
            policy: self.policy.clone(),
            trail: self.trail.clone(),
            metadata: self.metadata.clone(),
            body: Payload::One(Message::Encoded(bytes)),
            attempt,
            ..*self
        })
    }
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// What the handler added.
    pub metadata: MetadataMap,
    /// The answer.
    pub body: Payload,
}
