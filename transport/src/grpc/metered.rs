//! Counts what HTTP/2 keeps for a client and nobody else sees: streams whose answers the client has not read, and heads
//! of which the end has not come.
//!
//! HTTP/2 reads all that there is before it answers any of it, and keeps a stream until its last frame is written: some
//! kilobytes for every few bytes that a client sends, whatever becomes of its calls, also if they are refused. So each
//! stream counts from its first frame to its last, as they pass here. Nothing more is read of a client that makes a worker
//! keep more than it may, until some of its calls are over; and where it reads nothing, so that they never will, it is cut
//! off.

use std::collections::VecDeque;
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

/// What it keeps of a head that is not whole. In memory it is larger than on the wire.
const HALF_HEAD_BYTES: usize = 64 * 1024;

/// Where much is held, so many bytes are read at a time; of a frame that has begun, what is missing of it, up to the size of the
/// largest frame that HTTP/2 allows with nothing said.
const LITTLE: usize = 512;
const OF_FRAME: usize = 16 * 1024;

/// After so long it is looked whether others have left room.
const LOOKS_AGAIN: Duration = Duration::from_millis(20);

/// How long a client may read nothing that makes a worker keep too much.
const DEAF_MAX: Duration = Duration::from_secs(1);

/// For how long none of its streams may end. It may be gone, which nobody sees who does not read; and where all have clients as it
/// is, none of them would be read on.
const STUCK_MAX: Duration = Duration::from_secs(3);

/// How long the end of a head may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of one connection, from its preface on.
pub(super) struct Metered {
    io: Prefaced,
    streams: Open,
    heads: Heads,
    read: Frames,
    written: Frames,
    /// Runs while a client that makes the worker keep too much reads nothing.
    unread: Option<Pin<Box<Sleep>>>,
    /// Runs while nothing is read, and who is to read then.
    pause: Option<(Pin<Box<Sleep>>, Waker)>,
    /// Runs while nothing is read, and none of its streams ends.
    stuck: Option<Pin<Box<Sleep>>>,
}

/// The streams that HTTP/2 keeps.
struct Open {
    /// In their order, which is that in which they begin.
    streams: VecDeque<u32>,
    /// The last one that the client has opened.
    last: u32,
    held: Streams,
}

/// The head that comes.
struct Heads {
    /// Whether frames of it are to come, and whether the last frame that came is one of a head.
    is_open: bool,
    is_here: bool,
    held: Buffered,
    /// Runs until the end of one must have come.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    /// What is kept for it counts among what `share` has.
    pub(super) fn new(io: Prefaced, share: &Arc<Share>) -> Self {
        Self {
            io,
            streams: Open { streams: VecDeque::new(), last: 0, held: Streams::of(share) },
            heads: Heads {
                is_open: false,
                is_here: false,
                held: Buffered::alone(share.budget()),
                timer: None,
            },
            read: Frames::of_client(),
            written: Frames::default(),
            unread: None,
            pause: None,
            stuck: None,
        }
    }

    fn note_read(&mut self, piece: &[u8]) {
        let (streams, heads) = (&mut self.streams, &mut self.heads);
        self.read.pass(piece, |frame| {
            streams.note_read(frame);
            heads.note(frame);
        });
        if !heads.is_half(self.read.missing()) {
            heads.end();
        }
    }

    fn note_written(&mut self, piece: &[u8]) {
        let before = self.streams.streams.len();
        let streams = &mut self.streams;
        self.written.pass(piece, |frame| streams.note_written(frame));
        if self.streams.streams.len() < before {
            self.stuck = None;
            if let Some((_, reader)) = self.pause.take() {
                reader.wake();
            }
        }
    }

    /// Resolves when more may be read: at once, unless the client makes the worker keep more than it may, and with an error
    /// when it has done so for too long.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.streams.held.are_too_many() {
            if self.poll_stuck(cx).is_ready() {
                return Poll::Ready(Err(too_much()));
            }
            let pause = self.pause.take().map(|(pause, _)| pause);
            let mut pause = pause.unwrap_or_else(|| Box::pin(sleep(LOOKS_AGAIN)));
            if pause.as_mut().poll(cx).is_pending() {
                self.pause = Some((pause, cx.waker().clone()));
                return Poll::Pending;
            }
        }
        self.stuck = None;
        Poll::Ready(Ok(()))
    }

    /// Resolves when none of its streams has ended for too long. Who holds nothing waits for others.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.streams.held.are_any() {
            self.stuck = None;
            return Poll::Pending;
        }
        self.stuck.get_or_insert_with(|| Box::pin(sleep(STUCK_MAX))).as_mut().poll(cx)
    }

    /// Reads no more than a few streams begin in.
    fn poll_read_little(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut piece = [const { MaybeUninit::uninit() }; OF_FRAME];
        let room = buf.remaining().min(self.read.missing().clamp(LITTLE, OF_FRAME));
        let mut piece = ReadBuf::uninit(&mut piece[..room]);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece));
        buf.put_slice(piece.filled());
        Poll::Ready(read)
    }

    /// What became of writing: where nothing goes out, the client does not read. Who makes the worker keep too much has a
    /// moment for that.
    fn after_write<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() || !self.streams.held.are_too_many() {
            self.unread = None;
            return written;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(DEAF_MAX)));
        unread.as_mut().poll(cx).map(|()| Err(too_much()))
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
                self.streams.push_back(frame.stream);
                // HTTP/2 has it already.
                self.held.hold();
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
        if let Ok(at) = self.streams.binary_search(&stream) {
            self.streams.remove(at);
            self.held.give_back();
        }
    }
}

impl Heads {
    fn note(&mut self, frame: Frame) {
        self.is_here = matches!(frame.kind, HEADERS | CONTINUATION);
        if frame.kind == HEADERS {
            self.end();
        }
        if self.is_here {
            self.is_open = !frame.has(END_HEADERS);
        }
    }

    /// Whether the end of a head is missing; of the last frame so many bytes are.
    fn is_half(&self, missing: usize) -> bool {
        self.is_open || self.is_here && missing > 0
    }

    fn end(&mut self) {
        if self.timer.take().is_some() {
            self.held.give_all_back();
        }
    }

    /// There is nothing to read: what has come of a head counts from now on. Resolves when there is no room for that, or its end
    /// has not come in time.
    fn poll_half(&mut self, missing: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_half(missing) {
            return Poll::Pending;
        }
        if self.timer.is_none() && !self.held.hold(HALF_HEAD_BYTES) {
            self.held.give_all_back();
            return Poll::Ready(Err(too_much()));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let Poll::Ready(read) = polled else { return this.heads.poll_half(this.read.missing(), cx) };
        this.note_read(&buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            this.note_written(&buf[..count]);
        }
        this.after_write(written, cx)
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
        this.after_write(written, cx)
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, timeout};

    use super::super::preface;
    use super::super::scan::PREFACE;
    use super::*;
    use crate::budget::Budget;
    use crate::gauges::{Gauge, Gauges};
    use crate::net::CallerAddress;

    const STREAM: usize = 8192;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn heads(streams: u32) -> Vec<u8> {
        (0..streams).flat_map(|nth| frame(HEADERS, END_HEADERS, 2 * nth + 1, b"head")).collect()
    }

    fn ends(streams: u32) -> Vec<u8> {
        (0..streams).flat_map(|nth| frame(HEADERS, END_HEADERS | END_STREAM, 2 * nth + 1, b"")).collect()
    }

    /// A connection to a worker that may hold `most` bytes, as its client sees it and as HTTP/2 does.
    async fn connection(most: usize) -> (DuplexStream, Metered, Gauges) {
        let gauges = Gauges::new();
        let (mut far, near) = duplex(64 * 1024);
        far.write_all(PREFACE).await.expect("there is room");
        let prefaced = preface::read(Box::new(near), CallerAddress::Unix).await;
        let prefaced = prefaced.expect("it came").expect("HTTP/2");
        let mut metered = Metered::new(prefaced, &Share::of(&Budget::new(most, &gauges)));
        metered.read_exact(&mut [0; PREFACE.len()]).await.expect("it comes first");
        (far, metered, gauges)
    }

    async fn said(far: &mut DuplexStream, metered: &mut Metered, bytes: &[u8]) {
        far.write_all(bytes).await.expect("there is room");
        metered.read_exact(&mut vec![0; bytes.len()]).await.expect("it is read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_counts_from_its_first_frame_to_its_last() {
        let (mut far, mut metered, gauges) = connection(1 << 20).await;
        let held = || gauges.read().sum(Gauge::BufferedBytes);
        said(&mut far, &mut metered, &heads(4)).await;
        assert_eq!(held(), 4 * STREAM);
        said(&mut far, &mut metered, &frame(HEADERS, END_HEADERS | END_STREAM, 7, b"trailers")).await;
        assert_eq!(held(), 4 * STREAM, "the client has said all, and has no answer");
        said(&mut far, &mut metered, &frame(RST_STREAM, 0, 1, &[0; 4])).await;
        metered.write_all(&frame(DATA, 0, 3, b"more comes")).await.expect("there is room");
        assert_eq!(held(), 3 * STREAM);
        metered.write_all(&frame(DATA, END_STREAM, 3, b"")).await.expect("there is room");
        metered.write_all(&frame(RST_STREAM, 0, 5, &[0; 4])).await.expect("there is room");
        metered.write_all(&frame(RST_STREAM, 0, 5, &[0; 4])).await.expect("there is room");
        assert_eq!(held(), STREAM);
        drop(metered);
        assert_eq!(held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_too_much_is_read_on_when_some_of_it_has_ended() {
        let (mut far, mut metered, _) = connection(16 * STREAM).await;
        said(&mut far, &mut metered, &heads(9)).await;
        far.write_all(&heads(1)).await.expect("there is room");
        let mut more = [0; 13];
        let read = timeout(STUCK_MAX / 2, metered.read_exact(&mut more)).await;
        assert!(read.is_err(), "nothing has ended");
        metered.write_all(&ends(5)).await.expect("there is room");
        metered.read_exact(&mut more).await.expect("there are few now");
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_too_much_is_cut_off_when_nothing_of_it_ends() {
        let (mut far, mut metered, _) = connection(16 * STREAM).await;
        said(&mut far, &mut metered, &heads(12)).await;
        let read = timeout(STUCK_MAX * 2 / 3, metered.read(&mut [0; 1])).await;
        assert!(read.is_err(), "nothing has ended");
        metered.write_all(&ends(1)).await.expect("there is room");
        let begun = Instant::now();
        let error = metered.read(&mut [0; 1]).await.expect_err("it is cut off");
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::QuotaExceeded, STUCK_MAX));
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_nothing_waits_for_others_as_long_as_it_takes() {
        let (mut far, mut metered, _) = connection(16 * STREAM).await;
        let others = Share::of(metered.streams.held.share().budget());
        let mut others = Streams::of(&others);
        (0..13).for_each(|_| others.hold());
        far.write_all(&heads(1)).await.expect("there is room");
        let read = timeout(STUCK_MAX * 3, metered.read(&mut [0; 1])).await;
        assert!(read.is_err(), "others hold too much");
        drop(others);
        metered.read_exact(&mut [0; 13]).await.expect("it is still there");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_admitted_hold_nobody_up_until_they_are_answered() {
        let (mut far, mut metered, gauges) = connection(16 * STREAM).await;
        let share = metered.streams.held.share();
        let calls: Vec<_> = (0..9).map(|_| Buffered::of(&share)).collect();
        calls.iter().for_each(Buffered::admit);
        said(&mut far, &mut metered, &heads(9)).await;
        said(&mut far, &mut metered, &frame(DATA, 0, 1, b"of one of them")).await;
        drop(calls);
        let read = timeout(STUCK_MAX / 2, metered.read(&mut [0; 1])).await;
        assert!(read.is_err(), "all are answered, and nobody reads that");
        drop(metered);
        assert_eq!(gauges.read().sum(Gauge::BufferedBytes), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_too_much_and_reads_nothing_is_cut_off() {
        let (mut far, mut metered, _) = connection(16 * STREAM).await;
        let much = vec![0; 100_000];
        let written = timeout(Duration::from_secs(60), metered.write_all(&much)).await;
        assert!(written.is_err(), "who holds little has all the time there is");
        said(&mut far, &mut metered, &heads(9)).await;
        let begun = Instant::now();
        let error = metered.write_all(&much).await.expect_err("it is cut off");
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::QuotaExceeded, DEAF_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_counts_until_it_is_whole_and_has_ten_seconds_for_that() {
        let whole = frame(HEADERS, END_HEADERS, 1, &[0; 100]);
        let open = frame(HEADERS, 0, 1, b"begun");
        let last = [&open[..], &frame(CONTINUATION, END_HEADERS, 1, &[0; 100])].concat();
        for (half, length) in [(&whole, 50), (&open, open.len()), (&last, last.len() - 1)] {
            let (mut far, mut metered, gauges) = connection(1 << 20).await;
            let held = || gauges.read().sum(Gauge::BufferedBytes);
            said(&mut far, &mut metered, &half[..length]).await;
            assert_eq!(held(), STREAM, "more of it may be there");
            let begun = Instant::now();
            assert!(metered.read(&mut [0; 1]).now_or_never().is_none(), "there is no more");
            assert_eq!(held(), STREAM + HALF_HEAD_BYTES);
            let error = metered.read(&mut [0; 1]).await.expect_err("it does not come");
            assert_eq!(
                (error.kind(), begun.elapsed().as_secs()),
                (io::ErrorKind::TimedOut, PATIENCE.as_secs())
            );
        }
        let (mut far, mut metered, gauges) = connection(1 << 20).await;
        said(&mut far, &mut metered, &last[..20]).await;
        assert!(metered.read(&mut [0; 1]).now_or_never().is_none(), "there is no more");
        said(&mut far, &mut metered, &last[20..]).await;
        assert_eq!(gauges.read().sum(Gauge::BufferedBytes), STREAM, "it has come");
    }
}
