//! The codec under tonic's framing: it reads bytes and writes messages, since the types are known
//! elsewhere.

use bytes::{Buf as _, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::payload::Message;

/// Reads bytes, writes [`Message`]s.
#[derive(Debug, Clone, Copy, Default)]
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
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

/// Gives a message that tonic found too large the status that every carrier gives. (tonic says
/// `OUT_OF_RANGE`; the text tells it from a peer's own.)
pub(crate) fn repair_size(status: Status, limit: usize) -> Status {
    let too_large = status.code() == tonic::Code::OutOfRange
        && status.message().starts_with("Error, decoded message length too large");
    if too_large { crate::status::message_too_large(limit) } else { status }
}
