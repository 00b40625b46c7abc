//! What a carrier carries: messages as values in memory or as encoded bytes, one or a stream of them.

use std::any::Any;
use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tonic::codec::EncodeBuf;

use crate::status::{self, Result, Status};

/// What prost generates for a message.
pub trait MessageType: prost::Message + Default + PartialEq + fmt::Debug + 'static {}

impl<T: prost::Message + Default + PartialEq + fmt::Debug + 'static> MessageType for T {}

/// A stream of messages. The first error is the last item.
pub type MessageStream = BoxStream<'static, Result<Message>>;

/// The status of a call with another number of messages than its contract says: that of a method that is not there,
/// says gRPC (`statuscodes.md`, cardinality violations), of requests and of responses.
pub(crate) fn wrong_count() -> Status {
    Status::unimplemented("expected exactly one message")
}

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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    /// The message `text` as a value, and as its encoding.
    fn both(text: &str) -> [Message; 2] {
        let value = || Message::of(text.to_owned());
        [value(), Message::Encoded(value().encoded())]
    }

    fn stream_of(items: Vec<Result<String, Code>>) -> Payload {
        let item = |item: Result<String, Code>| item.map(Message::of).map_err(|code| Status::new(code, ""));
        Payload::Stream(stream::iter(items.into_iter().map(item)).boxed())
    }

    fn item() -> impl Strategy<Value = Result<String, Code>> {
        prop_oneof![4 => ".{0,8}".prop_map(Ok), 1 => (1..17).prop_map(|code| Err(Code::from_i32(code)))]
    }

    proptest! {
        #[test]
        fn a_message_opens_as_what_went_in_encoded_or_not(text in ".{0,300}") {
            for message in both(&text) {
                prop_assert_eq!(message.round_trip().open::<String>(usize::MAX).expect("it fits"), &text[..]);
            }
        }

        #[test]
        fn a_message_is_refused_exactly_above_the_limit_encoded_or_not(text in ".{0,60}", limit in 0..200_usize) {
            for message in both(&text) {
                let size = message.encoded_len();
                let opened = message.open::<String>(limit).map_err(|status| status.code());
                let expected = if size > limit { Err(Code::ResourceExhausted) } else { Ok(text.clone()) };
                prop_assert_eq!(opened, expected);
            }
        }

        #[test]
        fn the_size_of_a_message_is_that_of_its_encoding(text in ".{0,300}") {
            let [value, encoded] = both(&text);
            prop_assert_eq!(value.encoded_len(), encoded.encoded_len());
            prop_assert_eq!(value.encoded_len(), value.encoded().len());
        }

        #[test]
        fn bytes_that_are_no_message_are_an_invalid_argument(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = <String as prost::Message>::decode(&bytes[..]).map_err(|_| Code::InvalidArgument);
            let opened = Message::Encoded(bytes.into()).open::<String>(usize::MAX);
            prop_assert_eq!(opened.map_err(|status| status.code()), expected);
        }

        #[test]
        fn a_single_message_is_one_message_and_the_first_error_wins(items in prop::collection::vec(item(), 0..4)) {
            let expected = match &items[..] {
                [Ok(text)] => Ok(text.clone()),
                [Ok(_), Err(code), ..] | [Err(code), ..] => Err(*code),
                [] | [Ok(_), Ok(_), ..] => Err(Code::Unimplemented),
            };
            let single = stream_of(items).single().now_or_never().expect("all of it is there");
            let opened = single.and_then(|message| message.open(usize::MAX)).map_err(|status| status.code());
            prop_assert_eq!(opened, expected);
        }

        #[test]
        fn a_stream_yields_every_message_in_its_order(texts in prop::collection::vec(".{0,8}", 0..6)) {
            let stream = stream_of(texts.iter().cloned().map(Ok).collect()).into_stream();
            let messages: Vec<_> = stream.collect().now_or_never().expect("all of it is there");
            let opened: Result<Vec<String>> = messages.into_iter().map(|item| item?.open(usize::MAX)).collect();
            prop_assert_eq!(opened.expect("no item failed"), texts);
        }
    }
}
