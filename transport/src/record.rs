//! Tells of a call that failed: what became of each of its attempts, and what it spent its time on.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::warn;

use crate::channel::{Request, Response};
use crate::status::{Code, Result, Status, code_name, http_status};
use crate::trail::{Leg, Mark, Trail};

/// One line in the log of the caller's node for each call that failed, which names the addresses that no status does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordLayer;

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Record { inner }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Record<S> {
    inner: S,
}

impl<S: Service<Request, Response = Response, Error = Status>> Service<Request> for Record<S> {
    type Response = Response;
    type Error = Status;
    type Future = Recorded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (path, trail, began) = (request.path, request.trail.clone(), Instant::now());
        Recorded { call: self.inner.call(request), path, trail, began }
    }
}

pin_project! {
    /// A call that is told of if it fails.
    pub(crate) struct Recorded<F> {
        #[pin]
        call: F,
        path: &'static str,
        trail: Trail,
        began: Instant,
    }
}

impl<F: Future<Output = Result<Response>>> Future for Recorded<F> {
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.call.poll(cx));
        if let Err(status) = &answer
            && is_trouble(status.code())
        {
            tell(this.path, status, this.trail, *this.began);
        }
        Poll::Ready(answer)
    }
}

/// Whether a failure is more than what a service says in the line of its work.
fn is_trouble(code: Code) -> bool {
    code == Code::ResourceExhausted || http_status(code).is_server_error()
}

fn tell(path: &'static str, status: &Status, trail: &Trail, began: Instant) {
    let (code, now) = (status.code(), Instant::now());
    let (legs, marks) = (trail.legs(), trail.marks());
    let attempts = attempts(&legs, &marks, (began, now), code);
    let duration_ms = ms(now - began);
    let error = status.message();
    warn!(path, code = code_name(code), error, duration_ms, attempts, "call failed");
}

/// Each attempt, in a line: where it went, when it was connected and answered, and how it ended, in milliseconds since it
/// began.
fn attempts(
    legs: &[Leg],
    marks: &[(u32, Mark, Instant)],
    (began, now): (Instant, Instant),
    code: Code,
) -> String {
    let last = marks.iter().map(|(attempt, ..)| *attempt).max().unwrap_or_default();
    let mut line = String::new();
    for attempt in 0..=last {
        let of_it = || marks.iter().filter(|(of, ..)| *of == attempt);
        let begun = of_it().find(|(_, mark, _)| *mark == Mark::Begun).map_or(began, |(.., at)| *at);
        let ended = of_it().find(|(_, mark, _)| *mark != Mark::Begun);
        let (ended, at) = ended.map_or((Mark::Failed(code), now), |(_, mark, at)| (*mark, *at));
        let since = |at: Instant| ms(at.saturating_duration_since(begun));
        let separator = if attempt == 0 { "" } else { "; " };
        let name = match ended {
            Mark::Failed(code) => code_name(code),
            Mark::Begun | Mark::Overtaken => "overtaken",
        };
        let wrote = match legs.iter().find(|leg| leg.attempt == attempt) {
            Some(leg) => {
                write!(line, "{separator}{}: {}{name} after {}", leg.address, steps(leg, since), since(at))
            }
            None => write!(line, "{separator}sent nowhere: {name} after {}", since(at)),
        };
        wrote.expect("a text takes all");
    }
    line
}

fn steps(leg: &Leg, since: impl Fn(Instant) -> f64) -> String {
    let mut line = format!("connected after {}, ", since(leg.connected));
    if let Some(at) = leg.answered {
        write!(line, "answered after {}, ", since(at)).expect("a text takes all");
    }
    line
}

/// In milliseconds, to a thousandth.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_attempt_is_told_with_its_address_its_steps_and_its_end() {
        let (trail, began) = (Trail::default(), Instant::now());
        let at = |ms: u64| began + Duration::from_millis(ms);
        let address = |text: &str| Arc::new(text.parse().expect("an address"));
        trail.goes_to(0, &address("http://a:1"), false, at(2));
        trail.answered(0, at(5));
        trail.goes_to(2, &address("http://b:2"), false, at(161));
        let legs = trail.legs();
        let marks = [
            (0, Mark::Failed(Code::Unavailable), at(6)),
            (1, Mark::Begun, at(60)),
            (1, Mark::Failed(Code::Unavailable), at(60)),
            (2, Mark::Begun, at(160)),
        ];
        assert_eq!(
            attempts(&legs, &marks, (began, at(200)), Code::DeadlineExceeded),
            "http://a:1: connected after 2, answered after 5, UNAVAILABLE after 6; sent nowhere: UNAVAILABLE after 0; \
             http://b:2: connected after 1, DEADLINE_EXCEEDED after 40"
        );
    }

    #[test]
    fn what_a_service_says_in_the_line_of_its_work_is_no_trouble() {
        assert!(![Code::NotFound, Code::Aborted, Code::Cancelled].into_iter().any(is_trouble));
        assert!(
            [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted].into_iter().all(is_trouble)
        );
    }
}
