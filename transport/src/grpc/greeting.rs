//! What the other end of a new connection says first: a server of HTTP/2 sends its SETTINGS (RFC 9113, section 3.4).
//!
//! A port that accepts and then says something else, as `HTTP/1.1 400` or the banner of another protocol, is no more
//! connected to than one that hangs up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::scan::{Frame, HEAD_BYTES, SETTINGS};
use crate::net::Io;

/// The most of the first SETTINGS that is read, in bytes: some forty of them, where six are known.
const SETTINGS_BYTES_MAX: usize = 256;

/// What was said first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A SETTINGS frame, and the most streams that it lets be open at a time, if it says so.
    Http2(Option<u32>),
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
        let missing = HEAD_BYTES + SETTINGS_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        if let Some(greeting) = Greeting::of(&self.head)
            && let Some(tell) = self.tell.take()
        {
            self.head = Vec::new();
            // Nobody listens any more if connecting took too long.
            tell.send(greeting).ok();
        }
    }
}

impl Greeting {
    /// What these first bytes are; none while too few of them are there.
    fn of(bytes: &[u8]) -> Option<Self> {
        const ACK: u8 = 1;
        let (head, payload) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let frame = Frame::of(*head);
        if frame.kind != SETTINGS || frame.has(ACK) || frame.stream != 0 {
            return Some(Self::Other);
        }
        let settings = payload.get(..frame.length.min(SETTINGS_BYTES_MAX))?;
        Some(Self::Http2(streams_max(settings)))
    }
}

/// `SETTINGS_MAX_CONCURRENT_STREAMS` (RFC 9113, section 6.5.2). The last one of several is in force.
fn streams_max(settings: &[u8]) -> Option<u32> {
    const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
    let (settings, _) = settings.as_chunks::<6>();
    let is_it = |setting: &&[u8; 6]| setting[..2] == MAX_CONCURRENT_STREAMS;
    let [_, _, value @ ..] = *settings.iter().rfind(is_it)?;
    Some(u32::from_be_bytes(value))
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
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex};

    use super::*;

    proptest! {
        #[test]
        fn what_is_known_of_a_greeting_does_not_change_with_what_follows(
            settings in any::<bool>(), mut bytes in prop::collection::vec(any::<u8>(), 0..300), more in any::<[u8; 9]>(),
        ) {
            if settings {
                bytes.splice(0..0, [0, 0, 12, 4, 0, 0, 0, 0, 0]);
            }
            if let Some(known) = Greeting::of(&bytes) {
                prop_assert_eq!(Greeting::of(&[&bytes[..], &more].concat()), Some(known));
            } else {
                prop_assert!(bytes.len() < HEAD_BYTES + SETTINGS_BYTES_MAX);
            }
        }
    }

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
            assert_eq!(greeting.await, Ok(Greeting::Http2(None)), "in pieces of {size}");
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
        let http2 = Some(Greeting::Http2(None));
        assert_eq!(Greeting::of(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), http2);
        assert_eq!(Greeting::of(&[0, 0, 0, 4, 0, 0x80, 0, 0, 0]), http2, "that bit means nothing");
        let others = [[0, 0, 0, 4, 1, 0, 0, 0, 0], [0, 0, 6, 4, 0, 0, 0, 0, 1], [0, 0, 8, 7, 0, 0, 0, 0, 0]];
        for other in others.into_iter().chain([*b"HTTP/1.1 ", *b"SSH-2.0-O"]) {
            assert_eq!(Greeting::of(&other), Some(Greeting::Other), "an ACK, a stream, a GOAWAY, no HTTP/2");
        }
    }

    #[test]
    fn the_most_streams_are_read_when_all_settings_are_there() {
        let frame = [0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255, 0, 3, 0, 0, 1, 2];
        for some in 0..frame.len() {
            assert_eq!(Greeting::of(&frame[..some]), None);
        }
        assert_eq!(Greeting::of(&frame), Some(Greeting::Http2(Some(258))));
    }
}
