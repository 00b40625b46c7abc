//! How the request of a call comes in: it is read when the call was admitted, in bounded time, and the buffer that it is
//! put together in counts.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use tonic::codegen::StdError;

use super::codec::{HEADER, repair_size};
use super::framing::Framing;
use crate::context::CallContext;
use crate::deadline;
use crate::payload::{Message, Payload, wrong_count};
use crate::status::{Result, Status};

/// The body of a request. What its buffer takes is held for its call.
pub(super) struct Request {
    body: Incoming,
    context: CallContext,
    framing: Framing,
    /// How large its buffer is by now.
    held: usize,
    is_stream: bool,
}

impl Request {
    /// A request of messages of at most `limit` bytes: of one, or of many.
    pub(super) fn of(body: Incoming, context: &CallContext, limit: usize, is_stream: bool) -> Self {
        Self { body, context: context.clone(), framing: Framing::new(limit), held: 0, is_stream }
    }

    /// Takes what the buffer needs for `piece`. One that is too small is not always used again from its beginning, so
    /// what comes may have to stand behind what was there.
    fn make_room(&mut self, piece: &[u8]) -> Result<()> {
        let room = self.framing.room_for(piece);
        if room > self.held {
            self.context.buffered().map_or(Ok(()), |buffered| buffered.take(room))?;
            self.held += room;
        }
        Ok(())
    }
}

/// The buffer of a stream goes with this. That of one message is the message, which lives on.
impl Drop for Request {
    fn drop(&mut self) {
        if let (true, Some(buffered)) = (self.is_stream, self.context.buffered()) {
            buffered.give_back(self.held);
        }
    }
}

impl HttpBody for Request {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            // hyper takes a reset without an error for an end.
            None if !self.body.is_end_stream() => Err(StdError::from(BrokenOff)),
            None => return Poll::Ready(None),
            Some(frame) => frame.map_err(|_| StdError::from(BrokenOff)),
        };
        let frame = frame.and_then(|frame| {
            frame.data_ref().map_or(Ok(()), |piece| self.make_room(piece))?;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
    }
}

/// The client has taken its call back, or is gone. tonic would take a request that breaks off like that for one that ends.
#[derive(Debug, thiserror::Error)]
#[error("the request broke off")]
struct BrokenOff;

/// Gives what came of a request the status that it has on every carrier.
fn repair(status: Status, limit: usize) -> Status {
    match status.source() {
        Some(source) if source.is::<BrokenOff>() => Status::cancelled(BrokenOff.to_string()),
        _ => repair_size(status, limit),
    }
}

/// What was sent, as messages of at most `limit` bytes.
pub(super) fn stream(messages: tonic::Streaming<Bytes>, limit: usize) -> Payload {
    let messages =
        messages.map(move |item| Ok(Message::Encoded(item.map_err(|status| repair(status, limit))?)));
    Payload::Stream(messages.boxed())
}

/// The one message that was sent, which must have come `within` so long.
pub(super) async fn message(
    messages: &mut tonic::Streaming<Bytes>,
    limit: usize,
    within: Option<Duration>,
) -> Result<Bytes> {
    let message = match within {
        None => single(messages).await,
        Some(most) => deadline::within(deadline::after(most), single(messages)).await,
    };
    message.map_err(|status| repair(status, limit))
}

async fn single(messages: &mut tonic::Streaming<Bytes>) -> Result<Bytes, Status> {
    let message = messages.message().await?.ok_or_else(wrong_count)?;
    if messages.message().await?.is_some() {
        return Err(wrong_count());
    }
    Ok(message)
}

/// Counts a message of so many bytes no longer.
pub(super) fn give_back(context: &CallContext, message: usize) {
    if let Some(buffered) = context.buffered() {
        buffered.give_back(HEADER + message);
    }
}
