//! What stands below hyper on a connection: it gives up clients that send or read nothing, notices those that hang up,
//! and keeps back what hyper would say by itself.
//!
//! A client that hangs up does not want its answer any more; one that half-closes has only said all, and does. Over
//! TCP both look the same, so whoever closes while a request is in flight is given [`HALF_CLOSED_MAX`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::budget::{Budget, Buffered};
use crate::deadline::UNREAD_MAX;
use crate::drain::Drain;
use crate::net::Io;

/// How long a client may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may stay idle between requests.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// How long it is idle until it rests.
const RESTS_AFTER: Duration = Duration::from_secs(1);

/// How long a request is still handled whose client has closed the connection: time enough for most answers, should it
/// have closed its own side only, and little work for nobody, should it have gone.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

/// How many bytes of later requests are read while one is in flight. Whoever sends more is seen to hang up when the
/// answer is out.
const AHEAD_MAX: usize = 4 * 1024;

/// How much hyper reads at a time, unless it has no more room than counts already, or reads a body. Its buffer grows when reads
/// fill it, and stays for as long as requests come: a head that does not fit in here counts for so long, too.
const PIECE: usize = 8 * 1024;

/// The stream of one connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<Inner>>);

struct Inner {
    io: Io,
    drain: Drain,
    stage: Stage,
    body: RequestBody,
    /// Whether there was a request.
    was_used: bool,
    /// Read while there was no hyper to read it, or while a request was in flight, to see whether its client is still there;
    /// hyper's next.
    ahead: BytesMut,
    end: Option<End>,
    /// Since when the client is waited for; unknown until it is.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs while the client does not read.
    unread: Option<Pin<Box<Sleep>>>,
    refusal: Option<u16>,
    /// What is held for heads: of one that is not whole what has come, and what hyper keeps since it read a large one.
    held: Buffered,
    /// How many bytes have come of the head that is read. Of one that comes at once, none count.
    read: usize,
}

/// What is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing, and nothing yet or for a while.
    Resting,
    /// Nothing, since a moment ago.
    Quiet,
    /// The head of a request.
    Head,
    /// A request is in flight; from its head to when hyper has its whole answer, and until that is out.
    Request { is_answered: bool },
}

/// How the body of the request in flight stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestBody {
    /// Somebody reads it: hyper sees the end of the stream, too.
    Read,
    /// Nobody will read the rest of it.
    Left,
    Ended,
}

/// How what the client sends has ended.
enum End {
    Closed(Pin<Box<Sleep>>),
    Broken(io::ErrorKind),
}

/// A request that is in flight until this is dropped: then hyper has its whole answer.
pub(super) struct InFlight(Wire);

impl Wire {
    pub(super) fn new(io: Io, drain: Drain, budget: &Arc<Budget>) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            io,
            drain,
            stage: Stage::Resting,
            body: RequestBody::Ended,
            was_used: false,
            ahead: BytesMut::new(),
            end: None,
            since: None,
            timer: None,
            unread: None,
            refusal: None,
            held: Buffered::alone(budget),
            read: 0,
        })))
    }

    /// A request has come.
    pub(super) fn begin(&self, has_body: bool) -> InFlight {
        let mut inner = self.0.borrow_mut();
        inner.stage = Stage::Request { is_answered: false };
        inner.body = if has_body { RequestBody::Read } else { RequestBody::Ended };
        inner.was_used = true;
        inner.end_head();
        InFlight(self.clone())
    }

    /// The body of the request in flight has come to its end.
    pub(super) fn end_body(&self) {
        self.0.borrow_mut().body = RequestBody::Ended;
    }

    /// Nobody reads the body of the request in flight any more.
    pub(super) fn leave_body(&self) {
        self.0.borrow_mut().body = RequestBody::Left;
    }

    /// Whether no other request is to be read once the one in flight is answered: a drain was announced, so that its client
    /// had better leave before it starts, or where the next request begins will never be known.
    pub(super) fn is_last(&self) -> bool {
        let inner = self.0.borrow();
        inner.body != RequestBody::Ended || inner.drain.is_announced()
    }

    /// Resolves when a client that rested says something, hangs up, or has been silent for too long.
    pub(super) async fn said(&self) {
        poll_fn(|cx| self.0.borrow_mut().poll_said(cx)).await;
    }

    /// Resolves when the client has said nothing for a while. Only hyper's reading finds that out.
    pub(super) async fn rests(&self) {
        poll_fn(|_| if self.0.borrow().stage == Stage::Resting { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Takes what hyper has read and is not done with: the beginning of a head at most. It came together with the request
    /// before, so that its time runs since that was answered.
    pub(super) fn take_back(&self, read: &[u8]) {
        let inner = &mut *self.0.borrow_mut();
        debug_assert!(inner.ahead.is_empty() || read.is_empty(), "hyper reads all that is there first");
        if !read.is_empty() {
            inner.stage = Stage::Head;
        }
        // It counts when it is read again, and hyper with what it keeps is gone.
        inner.read = 0;
        inner.held.give_all_back();
        inner.ahead.extend_from_slice(read);
    }

    /// Resolves when the client of the request in flight does not want its answer any more.
    pub(super) fn poll_hung_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.borrow_mut().poll_hung_up(cx)
    }

    /// What came is no request, and is to be answered with this status.
    pub(super) fn refuse(&self, status: u16) {
        self.0.borrow_mut().refusal = Some(status);
    }

    /// The status to be answered to what was no request, if anything is. hyper has ended, and whoever asks writes.
    pub(super) fn take_refusal(&self) -> Option<u16> {
        let mut inner = self.0.borrow_mut();
        inner.stage = Stage::Request { is_answered: false };
        inner.refusal.take()
    }

    /// Says that nothing more will be said.
    pub(super) async fn finish(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.0.borrow_mut().io).poll_shutdown(cx)).await
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.borrow_mut().stage = Stage::Request { is_answered: true };
    }
}

impl Inner {
    fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ahead.is_empty() || self.end.is_some() || self.poll_read_ahead(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_tardy(cx)
    }

    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.body == RequestBody::Read {
            return Poll::Pending;
        }
        while self.end.is_none() {
            if self.ahead.len() >= AHEAD_MAX {
                return Poll::Pending;
            }
            ready!(self.poll_read_ahead(cx));
        }
        match &mut self.end {
            Some(End::Closed(timer)) => timer.as_mut().poll(cx),
            Some(End::Broken(_)) | None => Poll::Ready(()),
        }
    }

    /// Reads a piece of what is hyper's next, or finds out how all has ended.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [const { MaybeUninit::uninit() }; 1024];
        let mut piece = ReadBuf::uninit(&mut piece);
        // `poll_read_io` notes an error, and hyper is told of it when it reads next.
        if ready!(self.poll_read_io(cx, &mut piece)).is_ok() {
            self.ahead.extend_from_slice(piece.filled());
        }
        Poll::Ready(())
    }

    /// Reads, and notes how that ends.
    fn poll_read_io(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        match &read {
            Ok(()) if buf.filled().len() == before => {
                self.end = Some(End::Closed(Box::pin(sleep(HALF_CLOSED_MAX))));
            }
            Ok(()) => {}
            Err(error) => self.end = Some(End::Broken(error.kind())),
        }
        Poll::Ready(read)
    }

    /// Reads for hyper.
    fn poll_read_next(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &self.end {
            Some(End::Closed(_)) => Poll::Ready(Ok(())),
            Some(End::Broken(kind)) => Poll::Ready(Err((*kind).into())),
            None => self.poll_read_io(cx, buf),
        }
    }

    /// Whether what is read is of a head: also while the answer before it goes out.
    fn is_of_head(&self) -> bool {
        self.stage != Stage::Request { is_answered: false }
    }

    /// Whether there is room for what has come of a head, of which more is waited for. If not, the answer is noted, unless
    /// another one is on its way: who does not read that is told nothing.
    fn has_room(&mut self) -> bool {
        let more = self.read.saturating_sub(self.held.bytes());
        if more == 0 || !self.is_of_head() {
            return true;
        }
        let has_room = self.held.take(more).is_ok();
        if !has_room && self.stage == Stage::Head {
            self.refusal = Some(429);
        }
        has_room
    }

    /// A head is whole. What it took is there for the next one, but as much as there is in any case counts no more.
    fn end_head(&mut self) {
        let (counted, read) = (self.held.bytes(), std::mem::take(&mut self.read));
        if counted.max(read) > PIECE {
            // Whether or not there is room: it is kept already.
            self.held.hold(read.saturating_sub(counted));
        } else {
            self.held.give_all_back();
        }
    }

    /// Reads for hyper, of heads a little at a time.
    fn poll_read_piece(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = self.held.bytes().max(PIECE);
        if buf.remaining() <= most || self.body == RequestBody::Read {
            return self.poll_read_next(cx, buf);
        }
        let mut piece = [const { MaybeUninit::uninit() }; PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        let read = ready!(self.poll_read_next(cx, &mut piece));
        buf.put_slice(piece.filled());
        Poll::Ready(read)
    }

    /// Resolves when the client has not sent in time what it is to send next. The answer to a head that was begun is
    /// noted; a client that has sent nothing is told nothing.
    fn poll_tardy(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = match self.stage {
            Stage::Request { .. } => return Poll::Pending,
            Stage::Quiet => RESTS_AFTER,
            Stage::Resting if self.was_used => IDLE_MAX,
            Stage::Resting | Stage::Head => PATIENCE,
        };
        let due = *self.since.get_or_insert_with(Instant::now) + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // A timer that is set too early is left as it is, and set anew when it ends: that is rarer than a request.
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= due {
                break;
            }
            timer.as_mut().reset(due);
        }
        match self.stage {
            Stage::Head => self.refusal = Some(408),
            Stage::Quiet => {
                self.stage = Stage::Resting;
                return self.poll_tardy(cx);
            }
            Stage::Resting | Stage::Request { .. } => {}
        }
        Poll::Ready(())
    }

    /// Gives a client up that reads nothing for [`UNREAD_MAX`]: its answer would wait for ever.
    fn patiently<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(UNREAD_MAX)));
        unread.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The status in what hyper says by itself.
fn status_in(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.has_room() {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = inner.poll_read_piece(cx, buf) else {
            return inner.poll_tardy(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        };
        if matches!(inner.stage, Stage::Quiet | Stage::Resting) {
            (inner.stage, inner.since) = (Stage::Head, None);
        }
        if inner.is_of_head() {
            inner.read += buf.filled().len() - before;
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        if !matches!(inner.stage, Stage::Request { .. }) {
            // Nothing was asked: this is what hyper has to say to a head that it does not understand.
            inner.refusal = status_in(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut inner.io).poll_write(cx, buf);
        inner.patiently(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        let flushed = ready!(Pin::new(&mut inner.io).poll_flush(cx));
        // hyper flushes when it has written all that it had.
        if inner.stage == (Stage::Request { is_answered: true }) {
            (inner.stage, inner.since) = (Stage::Quiet, None);
        }
        Poll::Ready(flushed)
    }

    /// Not yet: hyper has said all, which may not be all that there is to say. See [`Wire::finish`].
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
