//! Counts what HTTP/2 keeps for a client and nobody else sees: streams whose answers the client has not read, and heads
//! of which the end has not come.
//!
//! HTTP/2 reads all that there is before it answers any of it, and keeps a stream until its last frame is written: some
//! kilobytes for every few bytes that a client sends, whatever becomes of its calls, also if they are refused. So each
//! stream counts from its first frame to its last, as they pass here. Nothing more is read of a client that makes a worker
//! keep more than it may, until some of its calls are over; and where it reads nothing, so that they never will, it is cut
//! off.

use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::preface::Prefaced;
use super::scan::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, RST_STREAM};
use crate::budget::{Buffered, FULL, Share, Streams};

/// What a stream costs beside what is said on it, in bytes: in HTTP/2, and as a task that has not begun.
const STREAM_BYTES: usize = 8192;

/// What it keeps of a head that is not whole. In memory it is larger than on the wire.
const HALF_HEAD_BYTES: usize = 64 * 1024;

/// So many bytes are read at a time where much is held.
const LITTLE: usize = 512;

/// After so long it is looked whether others have left room.
const LOOKS_AGAIN: Duration = Duration::from_millis(20);

/// How long the end of a head may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of one connection, from its preface on.
pub(super) struct Metered {
    io: Prefaced,
    streams: Open,
    heads: Heads,
    read: Frames,
    written: Frames,
    /// Whether there is something for the client that it does not read.
    is_unread: bool,
    /// Runs while nothing is read, and who is to read then.
    pause: Option<(Pin<Box<Sleep>>, Waker)>,
}

/// The streams that HTTP/2 keeps.
struct Open {
    streams: HashSet<u32>,
    /// The last one that the client has opened.
    last: u32,
    held: Streams,
}

/// The head that comes.
struct Heads {
    is_half: bool,
    held: Buffered,
    is_too_much: bool,
    /// Runs until the end of one must have come.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    /// What is kept for it counts among what `share` has.
    pub(super) fn new(io: Prefaced, share: &Arc<Share>) -> Self {
        Self {
            io,
            streams: Open { streams: HashSet::new(), last: 0, held: Streams::of(share) },
            heads: Heads { is_half: false, held: Buffered::of(share), is_too_much: false, timer: None },
            read: Frames::of_client(),
            written: Frames::default(),
            is_unread: false,
            pause: None,
        }
    }

    fn note_read(&mut self, piece: &[u8]) {
        let (streams, heads) = (&mut self.streams, &mut self.heads);
        self.read.pass(piece, |frame| {
            streams.note_read(frame);
            heads.note(frame);
        });
        heads.settle();
    }

    fn note_written(&mut self, piece: &[u8]) {
        let before = self.streams.streams.len();
        let streams = &mut self.streams;
        self.written.pass(piece, |frame| streams.note_written(frame));
        if self.streams.streams.len() < before
            && let Some((_, reader)) = self.pause.take()
        {
            reader.wake();
        }
    }

    /// Resolves when more may be read: at once, unless the client makes the worker keep more than it may.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.streams.held.are_too_many() {
            if self.heads.is_too_much || self.is_unread {
                return Poll::Ready(Err(too_much()));
            }
            let pause = self.pause.take().map(|(pause, _)| pause);
            let mut pause = pause.unwrap_or_else(|| Box::pin(sleep(LOOKS_AGAIN)));
            if pause.as_mut().poll(cx).is_pending() {
                self.pause = Some((pause, cx.waker().clone()));
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads no more than a few streams begin in.
    fn poll_read_little(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut piece = [const { MaybeUninit::uninit() }; LITTLE];
        let room = buf.remaining().min(LITTLE);
        let mut piece = ReadBuf::uninit(&mut piece[..room]);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece));
        buf.put_slice(piece.filled());
        Poll::Ready(read)
    }

    /// What became of writing: where nothing goes out, the client does not read.
    fn after_write<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_unread = written.is_pending();
        match written {
            Poll::Pending if self.streams.held.are_too_many() => Poll::Ready(Err(too_much())),
            written => written,
        }
    }
}

fn too_much() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, FULL)
}

impl Open {
    fn note_read(&mut self, frame: Frame) {
        match frame.kind {
            HEADERS if frame.stream > self.last => {
                self.last = frame.stream;
                self.streams.insert(frame.stream);
                // HTTP/2 has it already.
                self.held.hold(STREAM_BYTES);
            }
            RST_STREAM => self.end(frame.stream),
            _ => {}
        }
    }

    fn note_written(&mut self, frame: Frame) {
        match frame.kind {
            HEADERS | DATA if frame.has(END_STREAM) => self.end(frame.stream),
            RST_STREAM => self.end(frame.stream),
            _ => {}
        }
    }

    fn end(&mut self, stream: u32) {
        if self.streams.remove(&stream) {
            self.held.give_back(STREAM_BYTES);
        }
    }
}

impl Heads {
    fn note(&mut self, frame: Frame) {
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.is_half = !frame.has(END_HEADERS);
        }
    }

    /// All that has come is noted.
    fn settle(&mut self) {
        if self.is_half == self.timer.is_some() {
            return;
        }
        if self.is_half {
            self.timer = Some(Box::pin(sleep(PATIENCE)));
            self.is_too_much = !self.held.hold(HALF_HEAD_BYTES);
        } else {
            self.timer = None;
            self.held.give_all_back();
        }
    }

    /// Resolves when the end of a head has not come in time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            None => Poll::Pending,
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_room(cx))?;
        let before = buf.filled().len();
        let polled = match this.streams.held.are_many() {
            true => this.poll_read_little(cx, buf),
            false => Pin::new(&mut this.io).poll_read(cx, buf),
        };
        let Poll::Ready(read) = polled else { return this.heads.poll_late(cx) };
        this.note_read(&buf.filled()[before..]);
        Poll::Ready(if this.heads.is_too_much { Err(too_much()) } else { read })
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            this.note_written(&buf[..count]);
        }
        this.after_write(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(mut count)) = written {
            for buf in bufs {
                let piece = &buf[..count.min(buf.len())];
                this.note_written(piece);
                count -= piece.len();
            }
        }
        this.after_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
