//! What a contract says. The types that implement these traits are generated from `.proto` files.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};

use crate::payload::{Message, MessageStream, Payload};
use crate::router::{Binding, Serve};
use crate::{Result, Status, rest};

/// One rpc of a service: what goes in, what comes out, and what may be done with it.
pub trait Method: Send + Sync + 'static {
    /// A message, or [`Streaming`] messages.
    type Request: Body;
    /// A message, or [`Streaming`] messages.
    type Response: Body;
    /// The service to which the rpc belongs.
    type Contract: Contract;
    /// Its path on the wire, `/package.Service/Method`.
    const PATH: &'static str;
    /// Whether it may be sent again when nobody knows what became of it.
    const IDEMPOTENCY: Idempotency;

    /// Its REST routes, from the `google.api.http` option.
    #[must_use]
    fn routes() -> Vec<rest::Route> {
        Vec::new()
    }
}

/// Protobuf's `idempotency_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing was said: a call whose fate is unknown must not be repeated.
    Unknown,
    /// The call changes nothing.
    NoSideEffects,
    /// Calling twice is the same as calling once.
    Idempotent,
}

/// One service.
pub trait Contract: Send + Sync + 'static {
    /// The name under which the service is placed and called: `user_profiles` for `UserProfiles`.
    const NAME: &'static str;
}

/// Binds every rpc of a contract to an actor. It exists for actors that handle all of them, so an
/// actor that lacks a handler does not compile.
pub trait Bind<A: Serve>: Contract {
    /// Names each rpc to `binding`.
    fn bind(binding: &mut Binding<'_, A>);
}

/// What prost generates for a message.
pub trait MessageType: prost::Message + Default + PartialEq + fmt::Debug + 'static {}

impl<T: prost::Message + Default + PartialEq + fmt::Debug + 'static> MessageType for T {}

/// What a method takes or returns: a message or a stream of messages.
pub trait Body: Send + Sized + 'static {
    /// Whether it is a stream.
    const STREAMING: bool;

    /// Hands it to a carrier, as it is: whether it is encoded is the carrier's affair.
    fn into_payload(self) -> Payload;

    /// Takes it from a carrier.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it cannot be decoded, `RESOURCE_EXHAUSTED` if a message has more than
    /// `limit` bytes, `INTERNAL` if not exactly one message came where one was due.
    fn from_payload(payload: Payload, limit: usize) -> BoxFuture<'static, Result<Self>>;

    /// The same, where the answer is at hand: a single message that is already here.
    ///
    /// # Errors
    ///
    /// As [`from_payload`](Self::from_payload); the payload comes back if it must be waited for.
    fn from_payload_now(payload: Payload, limit: usize) -> Result<Result<Self>, Payload>;
}

impl<T: MessageType> Body for T {
    const STREAMING: bool = false;

    fn into_payload(self) -> Payload {
        Payload::One(Message::of(self))
    }

    fn from_payload(payload: Payload, limit: usize) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move { payload.single().await?.open(limit) })
    }

    fn from_payload_now(payload: Payload, limit: usize) -> Result<Result<Self>, Payload> {
        match payload {
            Payload::One(message) => Ok(message.open(limit)),
            Payload::Stream(_) => Err(payload),
        }
    }
}

/// A stream of messages, as request or response. Dropping it ends the stream on the other side.
pub struct Streaming<T> {
    messages: MessageStream,
    limit: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T: MessageType> Streaming<T> {
    /// A stream of what `items` yields. The first error is the last item.
    pub fn new(items: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        Self {
            messages: items.map(|item| item.map(Message::of)).boxed(),
            limit: usize::MAX,
            kind: PhantomData,
        }
    }

    /// A stream of `items`, which are there already.
    pub fn of<I>(items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Self::new(stream::iter(items.into_iter().map(Ok)))
    }
}

impl<T: MessageType> Body for Streaming<T> {
    const STREAMING: bool = true;

    fn into_payload(self) -> Payload {
        Payload::Stream(self.messages)
    }

    fn from_payload(payload: Payload, limit: usize) -> BoxFuture<'static, Result<Self>> {
        let messages = payload.into_stream();
        Box::pin(async move { Ok(Self { messages, limit, kind: PhantomData }) })
    }

    fn from_payload_now(payload: Payload, limit: usize) -> Result<Result<Self>, Payload> {
        Ok(Ok(Self { messages: payload.into_stream(), limit, kind: PhantomData }))
    }
}

impl<T: MessageType> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let limit = self.limit;
        let item = ready!(self.messages.poll_next_unpin(cx));
        let item = item.map(|message| message.and_then(|message| message.open(limit)));
        if matches!(item, Some(Err(_))) {
            // tonic's stream goes on after an error: with the same one for ever, or with the rest of a message
            // that was too large, taken for messages.
            self.messages = stream::empty().boxed();
        }
        Poll::Ready(item)
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

/// The status of a call with another number of messages than its contract says.
pub(crate) fn wrong_count() -> Status {
    Status::internal("expected exactly one message")
}
