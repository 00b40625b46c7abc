//! Every call ends by its deadline, whatever it is waiting for.
//!
//! A deadline is a point in time on one machine. Between machines it travels as the time that is left
//! (`grpc-timeout`, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), so clocks need not agree.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use http::HeaderValue;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower::{Layer, Service};

use crate::channel::{Request, Response};
use crate::payload::{MessageStream, Payload};
use crate::{Result, Status, mutant};

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
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response>>;

    /// Always ready: to be ready is part of the call, so that the deadline covers it too. The carriers
    /// below are always ready and do their waiting in the call.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let deadline = request.deadline;
        let call = self.inner.call(request);
        Box::pin(async move {
            let mut response = within(deadline, call).await?;
            response.body = bound(deadline, response.body);
            Ok(response)
        })
    }
}

/// Runs `call` until `deadline` at the latest. One that has passed already ends it before it begins: the
/// timer alone would not, since it counts in milliseconds and a call may be quicker.
pub(crate) async fn within<T, E: From<Status>>(
    deadline: Option<Instant>,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match deadline {
        Some(deadline) if deadline <= Instant::now() => Err(exceeded().into()),
        Some(deadline) => {
            let mut call = pin!(call);
            match timeout_at(deadline, call.as_mut()).await {
                Ok(outcome) => outcome,
                Err(_) if mutant::is_exempt_while_connecting() => call.await,
                Err(_) => Err(exceeded().into()),
            }
        }
        None => call.await,
    }
}

/// Ends the stream in `body`, if it is one, at `deadline`.
pub(crate) fn bound(deadline: Option<Instant>, body: Payload) -> Payload {
    match (deadline, body) {
        (Some(deadline), Payload::Stream(messages)) => {
            let timer = Box::pin(sleep_until(deadline));
            Payload::Stream(Bounded { messages: Some(messages), timer }.boxed())
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

struct Bounded {
    /// None once the stream has ended.
    messages: Option<MessageStream>,
    timer: Pin<Box<Sleep>>,
}

impl Stream for Bounded {
    type Item = <MessageStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
        if let Poll::Ready(item) = messages.poll_next_unpin(cx) {
            return Poll::Ready(item);
        }
        self.timer.as_mut().poll(cx).map(|()| {
            self.messages = None;
            Some(Err(exceeded()))
        })
    }
}

/// Writes a `grpc-timeout`: at most eight digits, in the finest unit in which they suffice.
pub(crate) fn encode(timeout: Duration) -> HeaderValue {
    const DIGITS: u128 = 100_000_000;
    let nanos = timeout.as_nanos();
    let (value, unit) =
        [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S'), (60_000_000_000, 'M')]
            .into_iter()
            .map(|(size, unit)| (nanos / size, unit))
            .find(|(value, _)| *value < DIGITS)
            .unwrap_or(((nanos / 3_600_000_000_000).min(DIGITS - 1), 'H'));
    HeaderValue::from_str(&format!("{value}{unit}")).expect("digits and a letter are a header value")
}

/// Reads a `grpc-timeout`.
pub(crate) fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(value * 3600)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'S' => Some(Duration::from_secs(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_malformed_timeout_is_none() {
        for bad in ["", "S", "10", "123456789S", "-1S", "1s", "1 S", "1.5S"] {
            assert_eq!(parse(&HeaderValue::from_static(bad)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_timeout_survives_the_wire_and_never_grows(secs in 0..u64::MAX / 4, nanos in 0..1_000_000_000u32) {
            let timeout = Duration::new(secs, nanos);
            let header = encode(timeout);
            prop_assert!(header.len() <= 9);
            let back = parse(&header).expect("what was encoded parses");
            prop_assert!(back <= timeout);
            let representable = timeout < Duration::from_secs(99_999_999 * 3600);
            // Eight digits keep at least seven significant ones, and the next unit is at most 3600 times coarser.
            prop_assert!(!representable || timeout - back <= timeout / 1000 + Duration::from_nanos(1));
        }
    }
}
