//! How an answer comes in: what has come of a message that is not whole counts for the client that the call is made for. So
//! callees that begin large answers and do not end them have a node hold no more than its clients may.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::framing::Framing;
use crate::context::CallContext;
use crate::status::Result;

/// The body of an answer.
pub(super) struct Counted<B> {
    body: B,
    framing: Framing,
    held: usize,
    /// The call for which it is held, once anything is.
    context: Option<CallContext>,
}

impl<B> Counted<B> {
    /// An answer of messages of at most `limit` bytes.
    pub(super) fn of(body: B, limit: usize) -> Self {
        Self { body, framing: Framing::new(limit), held: 0, context: None }
    }

    /// Takes what the buffer needs for `piece`: none where that ends with a message that came with it.
    fn make_room(&mut self, piece: &[u8]) -> Result<()> {
        let room = self.framing.room_for(piece);
        if room == piece.len() || room <= self.held {
            return Ok(());
        }
        self.context = self.context.take().or_else(|| CallContext::current()?.outside());
        if let Some(buffered) = self.context.as_ref().and_then(CallContext::buffered) {
            buffered.take(room - self.held)?;
            self.held = room;
        }
        Ok(())
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        if let Some(buffered) = self.context.as_ref().and_then(CallContext::buffered) {
            buffered.give_back(self.held);
        }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame.and_then(|frame| {
            frame.data_ref().map_or(Ok(()), |piece| self.make_room(piece))?;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
