//! Leaves a service alone that fails call after call: calls to it are refused at once, but for one now and then that finds
//! out whether it works again.
//!
//! It judges whole calls, of all addresses together: a service of which one replica fails works, and that one is the
//! carrier's to leave out.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::{info, warn};

use crate::channel::{Request, Response};
use crate::circuit::{Change, Circuit, Pass, Shown};
use crate::gauges::{Gauge, Holds, Reading};
use crate::policy;
use crate::status::{self, Code, NotSent, Result, Status};

/// The breaker of the calls to one service.
#[derive(Debug)]
pub(crate) struct Breaker {
    callee: &'static str,
    circuit: Mutex<Circuit>,
}

impl Breaker {
    pub(crate) fn new(callee: &'static str, most: policy::Breaker) -> Self {
        Self { callee, circuit: Mutex::new(Circuit::new(most, Instant::now())) }
    }

    /// Lets a call out. One that is to find out whether the service works again is tried once.
    fn admit(self: &Arc<Self>, request: &mut Request) -> Result<Out> {
        let began = Instant::now();
        let Some(pass) = self.circuit().admit(began) else { return Err(self.refusal()) };
        if pass.is_probe {
            let policy = Arc::make_mut(&mut request.policy);
            (policy.attempts, policy.hedge) = (1, false);
        }
        Ok(Out { breaker: Arc::clone(self), pass: Some(pass), began, due: request.begins_by() })
    }

    fn refusal(&self) -> Status {
        let why = format!("calls to {} have failed, and breaker of its policy is open", self.callee);
        status::not_sent(NotSent::HeldBack, why)
    }

    fn ended(&self, pass: Pass, shown: Shown, began: Instant) {
        let now = Instant::now();
        let change = self.circuit().ended(pass, shown, now - began, now);
        let peer = self.callee;
        let ms = |wait: Duration| wait.as_secs_f64() * 1e3;
        match change {
            None => {}
            Some(Change::Opened(wait)) => {
                warn!(
                    peer,
                    breaker = "open",
                    next_probe_in_ms = ms(wait),
                    "its calls fail: they are held back"
                );
            }
            Some(Change::StaysOpen(wait)) => {
                warn!(peer, breaker = "still open", next_probe_in_ms = ms(wait), "a probe has failed");
            }
            Some(Change::Closed) => info!(peer, breaker = "closed", "it answers again"),
        }
    }

    /// Never contended: a client stays on its worker.
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holds for Breaker {
    fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::CalleeBreakers, self.callee, self.circuit().state(), 1);
    }
}

/// A call that is out.
#[derive(Debug)]
struct Out {
    breaker: Arc<Breaker>,
    /// None once it was told what it has shown.
    pass: Option<Pass>,
    began: Instant,
    /// When its answer must have begun.
    due: Option<Instant>,
}

impl Out {
    fn ended(mut self, answer: &Result<Response>) {
        self.tell(shown(answer));
    }

    fn tell(&mut self, shown: Shown) {
        if let Some(pass) = self.pass.take() {
            self.breaker.ended(pass, shown, self.began);
        }
    }
}

/// The deadline is kept further out: whoever runs into it drops the call.
impl Drop for Out {
    fn drop(&mut self) {
        let is_late = self.pass.is_some() && self.due.is_some_and(|due| due <= Instant::now());
        self.tell(if is_late { Shown::IsLate } else { Shown::Nothing });
    }
}

/// What an answer shows of the service. One in the line of its work shows that it works; one of a full service says nothing,
/// for to leave that alone would make of some calls that are refused all.
fn shown(answer: &Result<Response>) -> Shown {
    let Err(status) = answer else { return Shown::Answers };
    match status.code() {
        // It has no room, or drains: another one may take the call.
        _ if status::proof_not_sent(status) == Some(NotSent::Refused) => Shown::Nothing,
        Code::Unavailable | Code::Internal | Code::Unknown | Code::DataLoss => Shown::Fails,
        Code::DeadlineExceeded => Shown::IsLate,
        // Also said here: of messages that are too large, and where a stream was reset.
        Code::ResourceExhausted | Code::Cancelled => Shown::Nothing,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Shown::Answers,
    }
}

/// Refuses calls while the breaker is open; without one it does nothing.
#[derive(Debug, Clone)]
pub(crate) struct BreakerLayer(pub(crate) Option<Arc<Breaker>>);

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaking<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaking { inner, breaker: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Breaking<S> {
    inner: S,
    breaker: Option<Arc<Breaker>>,
}

impl<S: Service<Request, Response = Response, Error = Status>> Service<Request> for Breaking<S> {
    type Response = Response;
    type Error = Status;
    type Future = Watched<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.breaker.as_ref().map(|breaker| breaker.admit(&mut request)) {
            Some(Err(open)) => Watched::Refused { open: Some(open) },
            out => Watched::Out { call: self.inner.call(request), out: out.and_then(Result::ok) },
        }
    }
}

pin_project! {
    /// A call that is out, or was refused.
    #[project = Projected]
    pub(crate) enum Watched<F> {
        Refused { open: Option<Status> },
        Out { #[pin] call: F, out: Option<Out> },
    }
}

impl<F: Future<Output = Result<Response>>> Future for Watched<F> {
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Refused { open } => Poll::Ready(Err(open.take().expect("it is polled once"))),
            Projected::Out { call, out } => {
                let answer = ready!(call.poll(cx));
                out.take().into_iter().for_each(|out| out.ended(&answer));
                Poll::Ready(answer)
            }
        }
    }
}
