//! Every call ends by its deadline, whatever it is waiting for.
//!
//! A deadline is a point in time on one machine. Between machines it travels as the time that is left (see
//! [`crate::timeout`]), so clocks need not agree.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::channel::{Request, Response};
use crate::payload::{MessageStream, Payload};
use crate::status::{Result, Status};
use crate::timer::Timer;

/// How long a client may leave an answer unread, whatever its deadline: none of it goes out in that time.
pub(crate) const UNREAD_MAX: Duration = Duration::from_secs(30);

/// Ends every call at its deadline: queueing, connecting, sending, handling and receiving included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Deadline<S> {
    inner: S,
}

impl<S> Service<Request> for Deadline<S>
where
    S: Service<Request, Response = Response, Error = Status>,
{
    type Response = Response;
    type Error = Status;
    type Future = Bounded<S::Future>;

    /// Always ready: to be ready is part of the call, so that the deadline covers it too. The carriers
    /// below are always ready and do their waiting in the call.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (deadline, begins_by) = (request.deadline, request.begins_by());
        Bounded { call: within(begins_by, self.inner.call(request)), deadline }
    }
}

pin_project! {
    /// A call, and its answer if that is a stream, each until it is due.
    pub(crate) struct Bounded<F> {
        #[pin]
        call: Within<F>,
        deadline: Option<Instant>,
    }
}

impl<F: Future<Output = Result<Response>>> Future for Bounded<F> {
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(cx))?;
        response.body = bound(*this.deadline, response.body);
        Poll::Ready(Ok(response))
    }
}

/// Runs `call` until `deadline` at the latest. One that has passed already ends it before it begins: the
/// timer alone would not, since it counts in milliseconds and a call may be quicker.
pub(crate) fn within<F: Future>(deadline: Option<Instant>, call: F) -> Within<F> {
    match deadline {
        Some(deadline) if deadline <= Instant::now() => Within::Late,
        Some(deadline) => Within::Until { call, deadline, timer: None },
        None => Within::Ever { call },
    }
}

pin_project! {
    /// What runs until its deadline. No `async fn`: one would have the call twice, as its argument and where it is polled, and
    /// calls are moved to where they run.
    #[project = Projected]
    pub(crate) enum Within<F> {
        Late,
        // Many a call has its answer at once, and needs no timer.
        Until { #[pin] call: F, deadline: Instant, timer: Option<Timer> },
        Ever { #[pin] call: F },
    }
}

impl<T, E: From<Status>, F: Future<Output = Result<T, E>>> Future for Within<F> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Late => Poll::Ready(Err(exceeded().into())),
            Projected::Until { call, deadline, timer } => {
                let ended = call.poll(cx);
                if ended.is_pending() && timer.get_or_insert_with(|| Timer::at(*deadline)).poll(cx).is_ready()
                {
                    return Poll::Ready(Err(exceeded().into()));
                }
                ended
            }
            Projected::Ever { call } => call.poll(cx),
        }
    }
}

/// Ends the stream in `body`, if it is one, at `deadline`.
pub(crate) fn bound(deadline: Option<Instant>, body: Payload) -> Payload {
    match (deadline, body) {
        (Some(deadline), Payload::Stream(messages)) => {
            let timer = Timer::at(deadline);
            Payload::Stream(BoundedStream { messages: Some(messages), timer }.boxed())
        }
        (_, body) => body,
    }
}

/// The point in time that is `timeout` from now; none if no clock counts that far.
pub(crate) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("the deadline has passed")
}

/// A call that was not handled, since it would hardly be answered in time. Another host may be quicker, but not by more than
/// the way there takes, so that this says nothing of trying again.
pub(crate) fn too_short() -> Status {
    Status::deadline_exceeded("less time is left than the call usually takes: it was not handled")
}

struct BoundedStream {
    /// None once the stream has ended.
    messages: Option<MessageStream>,
    timer: Timer,
}

impl Stream for BoundedStream {
    type Item = <MessageStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { messages, timer } = &mut *self;
        let Some(stream) = messages else { return Poll::Ready(None) };
        // The timer comes first: a stream that always has a message would never end by it.
        if timer.poll(cx).is_ready() {
            *messages = None;
            return Poll::Ready(Some(Err(exceeded())));
        }
        stream.poll_next_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_call_whose_deadline_has_passed_fails_though_it_would_be_done_at_once() {
        let late = within(after(Duration::ZERO), ready(Ok::<_, Status>(()))).await;
        assert_eq!(late.expect_err("it is too late").code(), Code::DeadlineExceeded);
        within(after(UNREAD_MAX), ready(Ok::<_, Status>(()))).await.expect("there is time");
    }

    #[tokio::test]
    async fn a_stream_that_always_has_a_message_ends_at_its_deadline_all_the_same() {
        let endless = futures_util::stream::repeat_with(|| Ok(crate::payload::Message::of(String::new())));
        let Payload::Stream(mut messages) = bound(after(Duration::ZERO), Payload::Stream(endless.boxed()))
        else {
            unreachable!("a stream stays one");
        };
        let last = loop {
            match messages.next().await.expect("it ends with an error") {
                // Time passes only while a task waits. A real reader waits, too, when it writes to its client.
                Ok(_) => tokio::task::yield_now().await,
                Err(last) => break last,
            }
        };
        assert_eq!(last.code(), Code::DeadlineExceeded);
        assert!(messages.next().await.is_none(), "nothing comes after the error");
    }
}
