//! How an answer goes out: in pieces, as its client reads them. One that is not read is given up.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::{Code, Status};

use super::codec::HEADER;
use crate::access::{AccessLine, Outcome};
use crate::budget::Buffered;
use crate::context::CallContext;
use crate::deadline::UNREAD_MAX;
use crate::metadata;
use crate::payload::{Message, MessageStream, Payload};
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
    /// Whether the call has waited for word of a reset, and may begin.
    may_begin: Cell<bool>,
}

/// Waits until hyper has looked whether the client has taken the call back already. It looks only where a call waits, so
/// one that was reset together with its message would be handled, and take the place of another.
pub(super) async fn not_reset() {
    std::future::poll_fn(|_| match PROGRESS.with(|progress| progress.may_begin.get()) {
        true => Poll::Ready(()),
        // Polled again at once, by whoever runs the stream.
        false => Poll::Pending,
    })
    .await;
}

/// Runs one HTTP/2 stream. While hyper waits for the client to read, it does not ask for more of the answer,
/// so no timer in there would ever run: the one here ends the stream, and with it what the answer holds. An
/// answer that has nothing to say for the moment may take its time.
pub(super) async fn run_stream(stream: Pin<Box<impl Future<Output = ()>>>) {
    let progress = Rc::new(Progress::default());
    let mut stream = pin!(PROGRESS.scope(progress.clone(), stream));
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut stuck_at = 0;
    std::future::poll_fn(|cx| {
        let mut polled = stream.as_mut().poll(cx);
        if polled.is_pending() && !progress.may_begin.replace(true) {
            polled = stream.as_mut().poll(cx);
        }
        if polled.is_ready() {
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
    /// How many bytes hyper was given since that are still counted for the call.
    given: usize,
    progress: Rc<Progress>,
    context: CallContext,
    line: AccessLine,
}

impl Answer {
    /// Must be made on the stream on which it goes out.
    pub(super) fn new(body: Body, context: &CallContext, line: AccessLine) -> Self {
        let progress = PROGRESS.with(Rc::clone);
        progress.give_up.set(context.deadline().and_then(|deadline| deadline.checked_add(OVERTIME)));
        Self { body, rest: Bytes::new(), given: 0, progress, context: context.clone(), line }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let given = std::mem::take(&mut self.given);
        self.context.buffered().inspect(|buffered| buffered.give_back(given));
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                // tonic's framing puts five bytes before each message.
                self.line.bytes += data.len() as u64;
                self.rest = self.counted(data);
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

    /// The same bytes, which are counted until hyper has written them, or asks for more where they are few.
    fn counted(&mut self, data: Bytes) -> Bytes {
        let Some(buffered) = self.context.buffered() else { return data };
        if Buffered::keeps(data.len()) {
            self.given = data.len();
        }
        buffered.outgoing(data)
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
}

/// The messages of an answer on their way out, each of them counted from when it is there.
pub(super) struct Messages {
    one: Option<Message>,
    more: Option<MessageStream>,
    context: CallContext,
}

impl Messages {
    pub(super) fn of(body: Payload, context: &CallContext) -> Result<Self> {
        let context = context.clone();
        match body {
            // Counted already, since it is there before the client lets it go out.
            Payload::One(message) => {
                count(&context, &message)?;
                Ok(Self { one: Some(message), more: None, context })
            }
            Payload::Stream(messages) => Ok(Self { one: None, more: Some(messages), context }),
        }
    }
}

impl Stream for Messages {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { one, more, context } = &mut *self;
        let Some(messages) = more else { return Poll::Ready(one.take().map(Ok)) };
        let item = std::task::ready!(messages.as_mut().poll_next(cx));
        let item = item.map(|item| item.and_then(|message| count(context, &message).map(|()| message)));
        if !matches!(item, Some(Ok(_))) {
            *more = None;
            context.buffered().inspect(|buffered| buffered.answered());
        }
        Poll::Ready(item)
    }
}

fn count(context: &CallContext, message: &Message) -> Result<()> {
    context.buffered().map_or(Ok(()), |buffered| buffered.take(HEADER + message.encoded_len()))
}

/// The name of the status among `headers`.
pub(super) fn code_in(headers: &HeaderMap) -> Option<&'static str> {
    let code = headers.get(metadata::GRPC_STATUS)?;
    Some(status::code_name(Code::from_bytes(code.as_bytes())))
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::budget::Budget;
    use crate::gauges::{Gauge, Gauges};

    /// The context of a call, and how many bytes are held for it.
    fn counted() -> (CallContext, impl Fn() -> usize) {
        let gauges = Gauges::new();
        let budget = Budget::new(1024 * 1024, &gauges);
        let context = CallContext::of_nobody().counting(Buffered::alone(&budget));
        (context, move || gauges.read().sum(Gauge::BufferedBytes))
    }

    fn answer(body: Body, context: &CallContext) -> Answer {
        let line = AccessLine::new(context.clone(), "POST", "/a.B/C".into(), Outcome::Grpc("CANCELLED"));
        PROGRESS.sync_scope(Rc::default(), || Answer::new(body, context, line))
    }

    #[test]
    fn an_answer_without_messages_ends_with_its_head_and_no_other_does() {
        let (context, _) = counted();
        assert!(answer(Body::empty(), &context).is_end_stream());
        let large = http_body_util::Full::from(vec![1; PIECE_MAX + 1]);
        let mut large = answer(Body::new(large), &context);
        assert!(!large.is_end_stream());
        let first = large.frame().now_or_never().expect("it is there").expect("a piece").expect("no error");
        assert_eq!(first.into_data().expect("data").len(), PIECE_MAX);
        assert!(!large.is_end_stream(), "a byte is left");
        let rest = large.frame().now_or_never().expect("it is there").expect("a piece").expect("no error");
        assert_eq!(rest.into_data().expect("data").len(), 1);
        assert!(large.is_end_stream());
    }

    #[test]
    fn messages_are_held_for_their_client_from_when_they_are_there() {
        let (context, held) = counted();
        let message = || Message::Encoded(Bytes::from_static(b"12345678"));
        let one = Messages::of(Payload::One(message()), &context).expect("there is room");
        assert_eq!(held(), HEADER + 8);
        drop(one);
        let many = Payload::Stream(stream::iter([Ok(message()), Ok(message())]).boxed());
        let mut many = Messages::of(many, &context).expect("there is room");
        assert_eq!(held(), HEADER + 8, "none of the stream was made so far");
        many.next().now_or_never().expect("it is there").expect("a message").expect("there is room");
        assert_eq!(held(), 2 * (HEADER + 8));
    }

    #[test]
    fn a_message_for_which_there_is_no_room_is_the_end_of_its_stream() {
        let (context, _) = counted();
        let large = || Ok(Message::Encoded(vec![0; 1024 * 1024].into()));
        let many = Payload::Stream(stream::repeat_with(large).boxed());
        let mut many = Messages::of(many, &context).expect("nothing was made so far");
        let refused = many.next().now_or_never().expect("it is there").expect("an end");
        assert_eq!(refused.err().map(|status| status.code()), Some(Code::ResourceExhausted));
        assert!(many.next().now_or_never().expect("it is over").is_none());
    }
}
