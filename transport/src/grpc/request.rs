//! How the request of a call comes in: it is read when the call was admitted, in bounded time, and what was read of it
//! counts.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use tonic::codegen::StdError;

use super::codec::{HEADER, repair_size};
use crate::context::CallContext;
use crate::deadline;
use crate::payload::{Message, Payload, wrong_count};
use crate::status::{Result, Status};

/// The body of a request. What was read of it is held for its call.
pub(super) struct Request {
    body: Incoming,
    context: CallContext,
}

impl Request {
    pub(super) fn of(body: Incoming, context: &CallContext) -> Self {
        Self { body, context: context.clone() }
    }
}

impl HttpBody for Request {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame.map_err(StdError::from).and_then(|frame| {
            let read = frame.data_ref().map_or(0, Bytes::len);
            self.context.buffered().map_or(Ok(()), |buffered| buffered.take(read))?;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
    }
}

/// What was sent, as messages of at most `limit` bytes. A stream counts what it has read of messages that are not
/// whole yet.
pub(super) fn stream(messages: tonic::Streaming<Bytes>, limit: usize, context: &CallContext) -> Payload {
    let context = context.clone();
    let messages = messages.map(move |item| {
        let message = item.map_err(|status| repair_size(status, limit))?;
        give_back(&context, message.len());
        Ok(Message::Encoded(message))
    });
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
    message.map_err(|status| repair_size(status, limit))
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
