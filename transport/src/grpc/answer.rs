//! How an answer goes out: in pieces, as its client reads them. One that is not read is given up.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::access::{AccessLine, Outcome};
use crate::deadline::UNREAD_MAX;
use crate::status::{self, Result};

/// How long after its deadline an answer may wait for its client to read it.
const OVERTIME: Duration = Duration::from_secs(1);

/// The most of an answer that goes out at once, in bytes: as much as a frame of HTTP/2 takes. What is larger is
/// cut, at no cost, so that its progress can be seen, and so that HTTP/2 does not store what is not read.
const PIECE_MAX: usize = 16 * 1024;

tokio::task_local! {
    static PROGRESS: Rc<Progress>;
}

/// What an answer tells the task that sends it.
#[derive(Default)]
struct Progress {
    /// When it is given up, however well it comes along; none while there is no answer, or no deadline.
    give_up: Cell<Option<Instant>>,
    /// How many pieces hyper was given.
    pieces: Cell<u64>,
    /// Whether it has one in hand: it asks for the next when the client has made room for this one.
    in_hand: Cell<bool>,
}

/// Runs one HTTP/2 stream. While hyper waits for the client to read, it does not ask for more of the answer,
/// so no timer in there would ever run: the one here ends the stream, and with it what the answer holds. An
/// answer that has nothing to say for the moment may take its time.
pub(super) async fn run_stream(stream: impl Future<Output = ()>) {
    let progress = Rc::new(Progress::default());
    let mut stream = pin!(PROGRESS.scope(progress.clone(), stream));
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut stuck_at = 0;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !progress.in_hand.get() {
            return Poll::Pending;
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(UNREAD_MAX)));
        if progress.pieces.get() != stuck_at {
            stuck_at = progress.pieces.get();
            let unread = Instant::now() + UNREAD_MAX;
            timer.as_mut().reset(progress.give_up.get().map_or(unread, |at| at.min(unread)));
        }
        timer.as_mut().poll(cx)
    })
    .await;
}

/// The body of an answer. It writes the access line when the trailers have gone out; if the client goes
/// away before, or does not read, it is dropped, and the line says that it was cancelled.
pub(super) struct Answer {
    body: Body,
    /// What was cut off, and comes next.
    rest: Bytes,
    progress: Rc<Progress>,
    line: AccessLine,
}

impl Answer {
    /// Must be made on the stream on which it goes out.
    pub(super) fn new(body: Body, deadline: Option<Instant>, line: AccessLine) -> Self {
        let progress = PROGRESS.with(Rc::clone);
        progress.give_up.set(deadline.and_then(|deadline| deadline.checked_add(OVERTIME)));
        Self { body, rest: Bytes::new(), progress, line }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                // tonic's framing puts five bytes before each message.
                self.line.bytes += data.len() as u64;
                self.rest = data;
                self.piece()
            }
            Err(trailers) => {
                if let Some(code) = trailers.trailers_ref().and_then(code_in) {
                    self.line.write(Outcome::Grpc(code));
                }
                trailers
            }
        })))
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE_MAX)))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let polled =
            if self.rest.is_empty() { self.poll_body(cx) } else { Poll::Ready(Some(Ok(self.piece()))) };
        self.progress.in_hand.set(polled.is_ready());
        self.progress.pieces.update(|pieces| pieces + u64::from(polled.is_ready()));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

/// The name of the status among `headers`.
pub(super) fn code_in(headers: &HeaderMap) -> Option<&'static str> {
    let code = headers.get("grpc-status")?;
    Some(status::code_name(Code::from_bytes(code.as_bytes())))
}
