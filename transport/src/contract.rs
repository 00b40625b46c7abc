//! What a contract says. The types that implement these traits are generated from `.proto` files.

use futures_util::future::BoxFuture;

use crate::payload::{Message, MessageType, Payload};
use crate::route::Route;
use crate::status::Result;

/// One rpc of a service: what goes in, what comes out, and what may be done with it.
pub trait Method: Send + Sync + 'static {
    /// A message, or [`Streaming`](crate::Streaming) messages.
    type Request: Body;
    /// A message, or [`Streaming`](crate::Streaming) messages.
    type Response: Body;
    /// The service to which the rpc belongs.
    type Contract: Contract;
    /// Its path on the wire, `/package.Service/Method`.
    const PATH: &'static str;
    /// Whether it may be sent again when nobody knows what became of it.
    const IDEMPOTENCY: Idempotency;
    /// Its REST routes, from the `google.api.http` option.
    const ROUTES: &'static [Route] = &[];
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
    /// Its rpcs.
    const METHODS: &'static [Rpc];
}

/// One rpc of a contract, where its types do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpc {
    /// Its path on the wire, as [`Method::PATH`] has it.
    pub path: &'static str,
    /// Whether it may be sent again, as [`Method::IDEMPOTENCY`] has it.
    pub idempotency: Idempotency,
    /// The fields of its request that can be the key of a call: each has one value, and is no message and no fraction. None
    /// if its request is a stream.
    pub fields: &'static [Field],
}

/// A field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in the contract.
    pub name: &'static str,
    /// Its number on the wire.
    pub number: u32,
}

impl Rpc {
    /// Its name: `ProcessName` of `/app.grpc.Service1/ProcessName`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The field with this name, if it can be the key of a call.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find(|field| field.name == name).copied()
    }
}

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
