//! What a client of the gRPC port says first. One that speaks no HTTP/2 is told so, in its own
//! language where that can be guessed.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tonic::Code;

use super::scan::PREFACE;
use crate::net::{CallerAddress, Io};
use crate::problem;

/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection that is done waits for its client to close it.
const LINGER: Duration = Duration::from_secs(1);

/// The answer to what is no HTTP: an empty SETTINGS frame, and GOAWAY with PROTOCOL_ERROR.
const GOAWAY_ANSWER: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
\0\0\x1f\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01this port speaks HTTP/2";

/// Reads the preface. None: it did not come, and the client has been told.
pub(super) async fn read(mut io: Io, caller: CallerAddress) -> io::Result<Option<Prefaced>> {
    let mut seen = BytesMut::with_capacity(256);
    let read = timeout(PATIENCE, async {
        while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
            if io.read_buf(&mut seen).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(())
    });
    read.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))?;
    if seen.starts_with(PREFACE) {
        let inner = Inner { seen: seen.freeze(), io };
        return Ok(Some(Prefaced(Rc::new(RefCell::new(inner)))));
    }
    let answer = if is_http1(&seen) {
        let detail = "this port speaks gRPC, which needs HTTP/2";
        problem::to_no_request(505, Code::Unimplemented, detail, caller)
    } else {
        Bytes::from_static(GOAWAY_ANSWER)
    };
    timeout(PATIENCE, refuse(io, &answer)).await.unwrap_or(Ok(()))?;
    Ok(None)
}

/// A request line begins with a method: capital letters and a space.
fn is_http1(seen: &[u8]) -> bool {
    let method = seen.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    method > 0 && seen.get(method).is_none_or(|byte| *byte == b' ')
}

/// Answers, and reads on until the client has read the answer and closed: closing with unread bytes
/// would reset the connection, and the answer with it. At most 64 KiB are read.
async fn refuse(mut io: Io, answer: &[u8]) -> io::Result<()> {
    io.write_all(answer).await?;
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(64 * 1024), &mut tokio::io::sink()).await?;
    Ok(())
}

/// A stream of which the beginning was read already. Clones share it, so that it outlives whoever serves it.
#[derive(Clone)]
pub(super) struct Prefaced(Rc<RefCell<Inner>>);

struct Inner {
    seen: Bytes,
    io: Io,
}

impl Prefaced {
    /// Reads on until the client has closed too, or for a while: closing with unread bytes would reset the
    /// connection, and a client that is reset may never read the GOAWAY that was sent to it before, which
    /// tells which of its calls were not read.
    pub(super) async fn linger(mut self) {
        // Whatever comes, and however it ends, the connection is over.
        timeout(LINGER, tokio::io::copy(&mut self, &mut tokio::io::sink())).await.ok();
    }

    fn with_io<R>(&mut self, act: impl FnOnce(Pin<&mut Io>) -> R) -> R {
        act(Pin::new(&mut self.0.borrow_mut().io))
    }
}

impl AsyncRead for Prefaced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        if inner.seen.is_empty() {
            drop(inner);
            return self.with_io(|io| io.poll_read(cx, buf));
        }
        let count = inner.seen.len().min(buf.remaining());
        buf.put_slice(&inner.seen[..count]);
        inner.seen.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefaced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with_io(|io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with_io(|io| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_io(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_io(|io| io.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use tokio::io::{BufWriter, duplex};

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_client_says_first_it_is_http2_or_told_so(
            said in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                (0..=PREFACE.len(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(of, rest)| [&PREFACE[..of], &rest].concat()),
            ],
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it needs no driver but this");
            let (told, read) = runtime.block_on(async {
                let (mut far, near) = duplex(1024);
                far.write_all(&said).await.expect("there is room");
                far.shutdown().await.expect("a pipe takes that");
                let read = read(Box::new(near), CallerAddress::Unix).await;
                let mut told = Vec::new();
                // There is no end while the stream is held.
                let read = read.map(|prefaced| prefaced.is_some());
                far.read_to_end(&mut told).await.expect("it was closed");
                (told, read)
            });
            match read {
                Ok(is_http2) => prop_assert!(is_http2 == said.starts_with(PREFACE) && is_http2 == told.is_empty()),
                Err(_) => prop_assert!(PREFACE.starts_with(&said) && told.is_empty()),
            }
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_read_again_and_the_rest_after_it() {
        let (mut far, near) = duplex(100);
        far.write_all(&[PREFACE, b"and more"].concat()).await.expect("there is room");
        far.shutdown().await.expect("a pipe takes that");
        let prefaced = read(Box::new(near), CallerAddress::Unix).await.expect("it came").expect("HTTP/2");
        let mut pieces = Vec::new();
        let mut reader = prefaced.clone();
        loop {
            let mut piece = [0; 7];
            match reader.read(&mut piece).await.expect("a piece") {
                0 => break,
                count => pieces.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(pieces, [PREFACE, b"and more"].concat());
    }

    #[tokio::test]
    async fn what_is_written_reaches_the_client_and_so_does_its_end() {
        let (mut far, near) = duplex(100);
        far.write_all(PREFACE).await.expect("there is room");
        let io = Box::new(BufWriter::new(near));
        let prefaced = read(io, CallerAddress::Unix).await.expect("it came").expect("HTTP/2");
        let mut writer = prefaced.clone();
        assert!(writer.is_write_vectored(), "as a pipe is");
        writer.write_all(b"one").await.expect("there is room");
        writer.flush().await.expect("there is room");
        let mut first = [0; 3];
        far.read_exact(&mut first).now_or_never().expect("it was flushed").expect("the stream is open");
        let many = [io::IoSlice::new(b"two"), io::IoSlice::new(b"three")];
        let count = writer.write_vectored(&many).await.expect("there is room");
        writer.shutdown().await.expect("a pipe takes that");
        let mut rest = String::new();
        far.read_to_string(&mut rest)
            .now_or_never()
            .expect("it ends, though the stream lives on")
            .expect("text");
        assert_eq!((&first, &*rest), (b"one", &"twothree"[..count]));
        drop(prefaced);
    }

    #[tokio::test]
    async fn a_connection_that_lingers_takes_what_its_client_had_still_to_say() {
        let (mut far, near) = duplex(PREFACE.len());
        far.write_all(PREFACE).await.expect("there is room");
        let prefaced = read(Box::new(near), CallerAddress::Unix).await.expect("it came").expect("HTTP/2");
        let says_much = async move { far.write_all(&[0; 1000]).await };
        let ((), said) = tokio::join!(prefaced.linger(), says_much);
        said.expect("it was read to the end");
    }

    #[test]
    fn the_canned_answer_states_its_own_length() {
        let goaway = &GOAWAY_ANSWER[9..];
        assert_eq!(usize::from(goaway[2]), goaway.len() - 9, "the length of the GOAWAY frame");
    }

    #[test]
    fn http1_is_known_by_its_method() {
        for http1 in [&b"GET / HTTP/1.1\r\n"[..], b"POST /x", b"PRI"] {
            assert!(is_http1(http1));
        }
        for other in [&b"\x16\x03\x01"[..], b"get /", b"", b"GET\0"] {
            assert!(!is_http1(other));
        }
    }
}
