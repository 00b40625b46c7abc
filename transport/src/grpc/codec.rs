//! The codec under tonic's framing: it reads bytes and writes messages, since the types are known
//! elsewhere.

use bytes::{Buf as _, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::payload::Message;

/// The size of what precedes each message.
pub(super) const HEADER: usize = 5;

/// What a buffer begins with, in bytes: an answer that is not read holds all of it, however small it is itself.
const BUFFER: usize = 1024;

/// An answer of many messages goes out when so many bytes of it are there.
const AT_ONCE: usize = 32 * 1024;

/// Reads bytes, writes [`Message`]s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Message;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Message;
    type Error = Status;

    fn encode(&mut self, message: Message, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buf);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, AT_ONCE)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, AT_ONCE)
    }
}

/// Gives a message that tonic found too large the status that every carrier gives. (tonic says
/// `OUT_OF_RANGE`; the text tells it from a callee's own.)
pub(crate) fn repair_size(status: Status, limit: usize) -> Status {
    let too_large = status.code() == tonic::Code::OutOfRange
        && status.message().starts_with("Error, decoded message length too large");
    if too_large { crate::status::message_too_large(limit) } else { status }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use tonic::Code;
    use tonic::codec::EncodeBody;

    use super::*;
    use crate::contract::Body as _;
    use crate::payload::Payload;
    use crate::streaming::Streaming;

    /// What goes over the wire for `messages`, and where in it each message ends.
    fn written(messages: &[String]) -> (Bytes, Vec<usize>) {
        let sizes = messages.iter().map(|message| HEADER + Message::of(message.clone()).encoded_len());
        let ends = sizes.scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let items: Vec<_> = messages.iter().cloned().map(|message| Ok(Message::of(message))).collect();
        let body = EncodeBody::new_client(Raw, stream::iter(items), None, None);
        let collected = body.collect().now_or_never().expect("all of it is there");
        (collected.expect("writing to memory does not fail").to_bytes(), ends.collect())
    }

    /// What a handler gets when `wire` arrives in pieces that end at `cuts`.
    fn read(wire: &Bytes, cuts: &[Index], limit: usize) -> Vec<Result<String, Code>> {
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).chain([wire.len()]).collect();
        ends.sort_unstable();
        let starts = [0].into_iter().chain(ends.clone());
        let pieces: Vec<_> = starts.zip(ends).map(|(start, end)| wire.slice(start..end)).collect();
        let frames = stream::iter(pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece))));
        let messages = tonic::Streaming::new_request(Raw, StreamBody::new(frames), None, Some(limit));
        let repair = move |status| repair_size(status, limit);
        let messages = messages.map(move |item| item.map(Message::Encoded).map_err(repair)).boxed();
        let messages = Streaming::<String>::from_payload_now(Payload::Stream(messages), limit);
        let messages = messages.expect("a stream is at hand").expect("nothing was read so far");
        let messages = messages.map(|item| item.map_err(|status| status.code()));
        messages.collect().now_or_never().expect("all of it is there")
    }

    fn messages() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(".{0,40}", 0..6)
    }

    fn cuts() -> impl Strategy<Value = Vec<Index>> {
        prop::collection::vec(any::<Index>(), 0..8)
    }

    #[test]
    fn a_status_in_a_callees_own_words_is_left_as_it_is() {
        let tonics = "Error, decoded message length too large: found 9 bytes, the limit is: 5 bytes";
        for (own, repaired) in [
            (Status::out_of_range("no such page"), Code::OutOfRange),
            (Status::internal(tonics), Code::Internal),
            (Status::out_of_range(tonics), Code::ResourceExhausted),
        ] {
            assert_eq!(repair_size(own, 5).code(), repaired);
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_the_network_cuts_them(
            messages in messages(), cuts in cuts()
        ) {
            let read: Result<Vec<_>, _> = read(&written(&messages).0, &cuts, usize::MAX).into_iter().collect();
            prop_assert_eq!(read, Ok(messages));
        }

        #[test]
        fn a_message_above_the_limit_is_the_last_thing_that_is_read(
            messages in messages(), cuts in cuts(), limit in 0..80_usize
        ) {
            let fits = |message: &&String| Message::of(String::clone(message)).encoded_len() <= limit;
            let mut expected: Vec<_> = messages.iter().take_while(fits).cloned().map(Ok).collect();
            if expected.len() < messages.len() {
                expected.push(Err(Code::ResourceExhausted));
            }
            prop_assert_eq!(read(&written(&messages).0, &cuts, limit), expected);
        }

        #[test]
        fn a_message_that_ends_too_soon_is_an_error_and_the_last_thing_that_is_read(
            messages in messages(), cuts in cuts(), end in any::<Index>()
        ) {
            let (wire, ends) = written(&messages);
            let wire = wire.slice(..end.index(wire.len() + 1));
            let whole = ends.iter().filter(|end| **end <= wire.len()).count();
            let mut expected: Vec<_> = messages[..whole].iter().cloned().map(Ok).collect();
            // tonic takes a header with nothing after it for the end.
            let start = whole.checked_sub(1).map_or(0, |last| ends[last]);
            if wire.len() != start && wire.len() != start + HEADER {
                expected.push(Err(Code::Internal));
            }
            prop_assert_eq!(read(&wire, &cuts, usize::MAX), expected);
        }

        #[test]
        fn bytes_that_are_no_frames_end_with_one_error_at_most(
            wire in prop::collection::vec(any::<u8>(), 0..60), cuts in cuts()
        ) {
            let read = read(&wire.into(), &cuts, 1000);
            let errors = read.iter().filter(|item| item.is_err()).count();
            prop_assert!(errors == usize::from(read.last().is_some_and(Result::is_err)), "{:?}", read);
        }
    }
}
