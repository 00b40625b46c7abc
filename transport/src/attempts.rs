//! The attempts of one call: it is repeated after a failure, and hedged when it takes long.
//!
//! Retry and hedge are one layer, since both draw on the same attempts, the same tokens and the same copy of the request.
//! A call is repeated if nobody can have handled it, which a status proves, or if its contract says that it is idempotent
//! and its policy names the code. It is committed once the head of its answer is there. The first attempt runs in this
//! layer's own future: nothing is boxed before something fails.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::channel::{Request, Response};
use crate::policy::RetryBudget;
use crate::repeat::{Repeat, Spent};
use crate::status::{Result, Status};

/// Repeats the calls of one client.
#[derive(Debug, Clone)]
pub(crate) struct AttemptsLayer(Arc<Spent>);

impl AttemptsLayer {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        Self(Arc::new(Spent::new(budget)))
    }
}

impl<S> Layer<S> for AttemptsLayer {
    type Service = Attempts<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attempts { inner, spent: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Attempts<S> {
    inner: S,
    spent: Arc<Spent>,
}

impl<S> Service<Request> for Attempts<S>
where
    S: Service<Request, Response = Response, Error = Status> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = Attempting<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Some(copy) = copy(&mut request) else {
            return Attempting::First { call: self.inner.call(request), repeat: None };
        };
        let hedges = request.policy.hedge && request.idempotent;
        let repeat = Repeat::new(self.inner.clone(), self.spent.clone(), copy);
        let call = self.inner.call(request);
        match hedges {
            true => Attempting::Further { attempts: Box::pin(repeat.hedged(call, Instant::now())) },
            false => Attempting::First { call, repeat: Some(repeat) },
        }
    }
}

/// A copy of the request, if another attempt may ever be made of it. If it may be made when the callee has handled this
/// one, the callee is told: who is repeated from outside repeats nothing, for attempts of every hop would multiply.
fn copy(request: &mut Request) -> Option<Request> {
    if request.policy.attempts < 2 || request.repeated_outside {
        return None;
    }
    let copy = request.copied(0)?;
    request.repeated_outside = request.idempotent;
    Some(Request { repeated_outside: request.idempotent, ..copy })
}

pin_project! {
    /// The first attempt, and then what comes after it.
    #[project = Projected]
    pub(crate) enum Attempting<S: Service<Request>> {
        First { #[pin] call: S::Future, repeat: Option<Repeat<S>> },
        Further { attempts: BoxFuture<'static, Result<Response>> },
    }
}

impl<S> Future for Attempting<S>
where
    S: Service<Request, Response = Response, Error = Status> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let further = match self.as_mut().project() {
            Projected::Further { attempts } => return attempts.as_mut().poll(cx),
            Projected::First { call, repeat } => match (ready!(call.poll(cx)), repeat.take()) {
                (Err(status), Some(repeat)) => repeat.after(0, status),
                (answer, repeat) => {
                    repeat.iter().for_each(Repeat::worked);
                    return Poll::Ready(answer);
                }
            },
        };
        self.set(Attempting::Further { attempts: Box::pin(further) });
        self.poll(cx)
    }
}
