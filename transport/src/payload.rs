//! What a carrier carries: messages as values in memory or as encoded bytes, one or a stream of them.

use std::any::Any;
use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tonic::codec::EncodeBuf;

use crate::contract::{MessageType, wrong_count};
use crate::{Result, Status, status};

/// A stream of messages. The first error is the last item.
pub type MessageStream = BoxStream<'static, Result<Message>>;

/// What goes with a request or a response.
pub enum Payload {
    /// One message.
    One(Message),
    /// Any number of messages.
    Stream(MessageStream),
}

impl Payload {
    /// The one message of a call that is not streaming.
    pub(crate) async fn single(self) -> Result<Message> {
        let mut messages = match self {
            Self::One(message) => return Ok(message),
            Self::Stream(messages) => messages,
        };
        let message = messages.next().await.ok_or_else(wrong_count)??;
        match messages.next().await {
            None => Ok(message),
            Some(Ok(_)) => Err(wrong_count()),
            Some(Err(status)) => Err(status),
        }
    }

    /// All messages, one after the other.
    pub(crate) fn into_stream(self) -> MessageStream {
        match self {
            Self::One(message) => stream::once(async { Ok(message) }).boxed(),
            Self::Stream(messages) => messages,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(message) => message.fmt(f),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// One message, encoded or not.
pub enum Message {
    /// A value, handed over as it is.
    Value(Box<dyn Value>),
    /// Its protobuf encoding.
    Encoded(Bytes),
}

impl Message {
    /// A message that stays a value for as long as nobody needs its bytes.
    pub fn of<T: MessageType>(value: T) -> Self {
        Self::Value(Box::new(value))
    }

    /// Its size on the wire, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Value(value) => value.encoded_len(),
            Self::Encoded(bytes) => bytes.len(),
        }
    }

    /// The typed message.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` above `limit` bytes, `INVALID_ARGUMENT` if the bytes are no `T`.
    pub fn open<T: MessageType>(self, limit: usize) -> Result<T> {
        if self.encoded_len() > limit {
            return Err(status::message_too_large(limit));
        }
        match self {
            Self::Value(value) => match value.into_any().downcast::<T>() {
                Ok(value) => Ok(*value),
                Err(_) => Err(Status::internal("the message is of another type than its method's")),
            },
            Self::Encoded(bytes) => T::decode(bytes)
                .map_err(|error| Status::invalid_argument(format!("the message cannot be decoded: {error}"))),
        }
    }

    /// The same message after a trip through its encoding, to prove that nothing is lost on the way.
    ///
    /// # Panics
    ///
    /// If the message that comes back differs: its type's encoding is broken.
    #[must_use]
    pub(crate) fn round_trip(self) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.round_trip()),
            Self::Encoded(_) => self,
        }
    }

    /// Its encoding, which can be cloned at no cost.
    pub(crate) fn encoded(self) -> Bytes {
        match self {
            Self::Value(value) => value.encoded(),
            Self::Encoded(bytes) => bytes,
        }
    }

    pub(crate) fn encode(self, buf: &mut EncodeBuf<'_>) {
        match self {
            Self::Value(value) => value.encode(buf),
            Self::Encoded(bytes) => bytes::BufMut::put(buf, bytes),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Encoded(bytes) => write!(f, "{} encoded bytes", bytes.len()),
        }
    }
}

/// A protobuf message whose type is not known here.
pub trait Value: fmt::Debug + Send + Sync {
    /// Its size on the wire, in bytes.
    fn encoded_len(&self) -> usize;
    /// Writes its encoding.
    fn encode(&self, buf: &mut EncodeBuf<'_>);
    /// Its encoding.
    fn encoded(&self) -> Bytes;
    /// Gives back the value, for whoever knows its type.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    /// Encodes and decodes it.
    fn round_trip(self: Box<Self>) -> Box<dyn Value>;
}

impl<T: MessageType> Value for T {
    fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(self)
    }

    fn encode(&self, buf: &mut EncodeBuf<'_>) {
        prost::Message::encode(self, buf).expect("an encode buffer grows as needed");
    }

    fn encoded(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn round_trip(self: Box<Self>) -> Box<dyn Value> {
        let mut buf = BytesMut::new();
        prost::Message::encode(&*self, &mut buf).expect("a byte buffer grows as needed");
        let copy = T::decode(buf).expect("what was encoded can be decoded");
        // NaN differs from itself, so the encodings are compared and not the values alone.
        assert!(
            copy == *self || copy.encode_to_vec() == self.encode_to_vec(),
            "the message changed on its way through its encoding: {self:?} became {copy:?}"
        );
        Box::new(copy)
    }
}
