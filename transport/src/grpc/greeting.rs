//! What the other end of a new connection says first: a server of HTTP/2 sends its SETTINGS (RFC 9113, section 3.4).
//!
//! A port that accepts and then says something else, as `HTTP/1.1 400` or the banner of another protocol, is no more
//! connected to than one that hangs up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::net::Io;

/// A frame begins with three bytes of length, one of type, one of flags and four of its stream (RFC 9113, section 4.1).
const HEAD_BYTES: usize = 9;

/// What was said first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A SETTINGS frame.
    Http2,
    /// Anything else.
    Other,
}

/// A stream that tells how the other end greets.
pub(super) struct Greeted {
    io: Io,
    /// The first bytes that were read.
    head: Vec<u8>,
    tell: Option<oneshot::Sender<Greeting>>,
}

impl Greeted {
    /// `io`, and word of its greeting; none comes if the other end hangs up before.
    pub(super) fn new(io: Io) -> (Self, oneshot::Receiver<Greeting>) {
        let (tell, greeting) = oneshot::channel();
        (Self { io, head: Vec::with_capacity(HEAD_BYTES), tell: Some(tell) }, greeting)
    }

    fn hear(&mut self, bytes: &[u8]) {
        let missing = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        if let Ok(head) = self.head.as_slice().try_into()
            && let Some(tell) = self.tell.take()
        {
            // Nobody listens any more if connecting took too long.
            tell.send(Greeting::of(head)).ok();
        }
    }
}

impl Greeting {
    fn of(head: [u8; HEAD_BYTES]) -> Self {
        const SETTINGS: u8 = 4;
        const ACK: u8 = 1;
        let [_, _, _, kind, flags, stream @ ..] = head;
        // The first bit of a stream's number means nothing.
        let is_of_connection = u32::from_be_bytes(stream) << 1 == 0;
        if kind == SETTINGS && flags & ACK == 0 && is_of_connection { Self::Http2 } else { Self::Other }
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.tell.is_some() {
            self.hear(&buf.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
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
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex};

    use super::*;

    #[tokio::test]
    async fn a_greeting_is_heard_and_passed_on_however_it_is_cut() {
        let said = b"\0\0\0\x04\0\0\0\0\0 and more";
        for size in 1..=said.len() {
            let (mut far, near) = duplex(said.len());
            let (mut greeted, greeting) = Greeted::new(Box::new(near));
            for piece in said.chunks(size) {
                far.write_all(piece).await.expect("there is room");
                let mut read = vec![0; size];
                let count = greeted.read(&mut read).await.expect("a piece");
                assert_eq!(&read[..count], piece);
            }
            assert_eq!(greeting.await, Ok(Greeting::Http2), "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn what_is_written_reaches_the_other_end_and_so_does_its_end() {
        let (mut far, near) = duplex(100);
        let (mut greeted, _) = Greeted::new(Box::new(BufWriter::new(near)));
        assert!(greeted.is_write_vectored(), "as a pipe is");
        greeted.write_all(b"one").await.expect("there is room");
        greeted.flush().await.expect("there is room");
        let mut first = [0; 3];
        far.read_exact(&mut first).now_or_never().expect("it was flushed").expect("the stream is open");
        let many = [io::IoSlice::new(b"two"), io::IoSlice::new(b"three")];
        let count = greeted.write_vectored(&many).await.expect("there is room");
        greeted.shutdown().await.expect("a pipe takes that");
        let mut rest = String::new();
        far.read_to_string(&mut rest)
            .now_or_never()
            .expect("it ends, though the stream lives on")
            .expect("text");
        assert_eq!((&first, &*rest), (b"one", &"twothree"[..count]));
    }

    #[test]
    fn http2_begins_with_settings_and_with_nothing_else() {
        assert_eq!(Greeting::of([0, 0, 18, 4, 0, 0, 0, 0, 0]), Greeting::Http2);
        assert_eq!(Greeting::of([0, 0, 0, 4, 0, 0x80, 0, 0, 0]), Greeting::Http2, "that bit means nothing");
        let others = [[0, 0, 0, 4, 1, 0, 0, 0, 0], [0, 0, 6, 4, 0, 0, 0, 0, 1], [0, 0, 8, 7, 0, 0, 0, 0, 0]];
        assert_eq!(others.map(Greeting::of), [Greeting::Other; 3], "an ACK, a stream, a GOAWAY");
        assert_eq!([*b"HTTP/1.1 ", *b"SSH-2.0-O"].map(Greeting::of), [Greeting::Other; 2]);
    }
}
