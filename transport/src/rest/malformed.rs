//! Answers to what never became a request.
//!
//! actix-http answers a malformed, oversized or tardy head by itself, with a bare status. This stream
//! stands below it and puts the edge's own form of error in its place: problem+json, with a request id.
//! Everything that passed the parser is answered by the app, always with an `x-request-id`, so a head
//! without one is known to be actix-http's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::Code;

use crate::deadline::UNREAD_MAX;
use crate::net::{CallerAddress, Io};
use crate::problem;

pub(super) struct Malformed {
    io: Io,
    caller: CallerAddress,
    /// What is still to be written in place of what actix-http wrote, and how much that was.
    instead: Option<(Bytes, usize)>,
    /// Whether the last write took all that there was: what comes next is then the beginning of an answer
    /// or of a piece of one, and not the rest of a piece, which may look like anything.
    is_whole: bool,
    /// Runs while the client does not read.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Malformed {
    pub(super) fn new(io: Io, caller: CallerAddress) -> Self {
        Self { io, caller, instead: None, is_whole: true, patience: None }
    }

    fn problem(&self, status: u16) -> Bytes {
        let (code, detail) = match status {
            408 => (Code::DeadlineExceeded, "the request did not come in time"),
            431 => (Code::ResourceExhausted, "the head of the request is too large"),
            _ => (Code::InvalidArgument, "this is not an HTTP/1.1 request"),
        };
        problem::to_no_request(status, code, detail, self.caller)
    }

    /// Gives a client up that reads nothing for [`UNREAD_MAX`]: its answer would wait for ever.
    fn patiently<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(UNREAD_MAX)));
        patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes `buf`, or what goes in its place: that is written whole before it is said that `buf` was, since
    /// actix-http waits for nothing after its own error.
    fn poll_write_next(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none()
            && self.is_whole
            && let Some(status) = bare_error(buf)
        {
            self.instead = Some((self.problem(status), buf.len()));
        }
        while let Some((left, replaced)) = &mut self.instead {
            let written = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.advance(written);
            self.patience = None;
            if left.is_empty() {
                let replaced = *replaced;
                self.instead = None;
                return Poll::Ready(Ok(replaced));
            }
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = written {
            self.is_whole = written == buf.len();
        }
        written
    }
}

/// The status of a bare client error of actix-http.
fn bare_error(head: &[u8]) -> Option<u16> {
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let status: u16 = std::str::from_utf8(status).ok()?.parse().ok()?;
    let id = b"x-request-id: ";
    let bare =
        (400..500).contains(&status) && !head.windows(id.len()).any(|part| part.eq_ignore_ascii_case(id));
    bare.then_some(status)
}

impl AsyncRead for Malformed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Malformed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.poll_write_next(cx, buf);
        self.patiently(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_client_error_is_replaced() {
        assert_eq!(bare_error(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), Some(400));
        assert_eq!(bare_error(b"HTTP/1.1 400 Bad Request\r\nx-request-id: 1\r\n\r\n"), None);
        assert_eq!(bare_error(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(bare_error(b"{\"name\":\"HTTP/1.1 400\"}"), None);
    }
}
