//! What an actor sees of a call, and what becomes of its answer.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix::dev::{MessageResponse, OneshotSender};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::task::noop_waker_ref;
use tokio::time::Instant;

use crate::mutant::{Mutant, is_planted};
use crate::router::Place;
use crate::{CallContext, Interceptor, Method, Result, Status, deadline, mutant};

/// A call to the method `M`: the request, and what travels with it.
pub struct Call<M: Method> {
    /// What is asked.
    pub request: M::Request,
    /// What travels with it.
    pub context: CallContext,
    witness: Witness,
    interceptor: Option<Interceptor>,
    place: Place,
}

impl<M: Method> actix::Message for Call<M> {
    type Result = Result<M::Response>;
}

impl<M: Method> Call<M> {
    pub(crate) fn new(
        request: M::Request,
        context: CallContext,
        interceptor: Option<Interceptor>,
        place: Place,
    ) -> Self {
        Self { request, witness: Witness(context.clone()), context, interceptor, place }
    }

    /// Answers with what `handler` comes to, in the context of this call.
    ///
    /// Log lines of the handler carry the call's request id; calls made from within inherit its
    /// request id and what is left of its deadline. If the caller goes away or the deadline passes, the
    /// handler's future is dropped where it stands. A panic becomes `INTERNAL` for this one call.
    pub fn answer<F>(self, handler: F) -> Reply<M>
    where
        F: AsyncFnOnce(M::Request) -> Result<M::Response> + 'static,
    {
        let request = self.request;
        let interceptor = self.interceptor;
        let context = self.context.clone();
        let work = async move {
            // Held until the handler is done or dropped.
            let _held = match interceptor {
                Some(intercept) => Some(intercept(&context).await?),
                None => None,
            };
            handler(request).await
        };
        if is_planted(Mutant::PanicKillsActor) {
            let answer = Box::pin(self.context.scope(work));
            return Reply { answer, witness: self.witness, place: self.place };
        }
        let work = self.context.scope(AssertUnwindSafe(work).catch_unwind());
        let answer = Box::pin(async move { work.await.unwrap_or_else(|_| Err(panicked())) });
        Reply { answer, witness: self.witness, place: self.place }
    }
}

impl<M: Method> fmt::Debug for Call<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&M::PATH).field(&self.context).finish()
    }
}

/// The answer to a call, in the making.
#[must_use = "a reply that is dropped answers nothing"]
pub struct Reply<M: Method> {
    answer: LocalBoxFuture<'static, Result<M::Response>>,
    witness: Witness,
    place: Place,
}

impl<M: Method> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&M::PATH).finish()
    }
}

impl<A: actix::Actor, M: Method> MessageResponse<A, Call<M>> for Reply<M> {
    fn handle(self, _: &mut A::Context, tx: Option<OneshotSender<Result<M::Response>>>) {
        let Some(caller) = tx else { return };
        let deadline = self.witness.0.deadline();
        let mut work = Work::<M> { answer: self.answer, caller: Some(caller), deadline, _place: self.place };
        // Most handlers are done in one go, or wait for another service. Those that are done need no
        // task of their own. A new task is polled at once, so the waker given here is never missed.
        let polled = Pin::new(&mut work).poll(&mut Context::from_waker(noop_waker_ref()));
        if polled.is_pending() {
            actix_rt::spawn(work);
        }
    }
}

/// Runs a handler until it answers or until nobody waits for the answer any more.
struct Work<M: Method> {
    answer: LocalBoxFuture<'static, Result<M::Response>>,
    caller: Option<OneshotSender<Result<M::Response>>>,
    deadline: Option<Instant>,
    _place: Place,
}

impl<M: Method> Future for Work<M> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(caller) = &mut self.caller else { return Poll::Ready(()) };
        let runs_on = is_planted(Mutant::CancelledHandlerRuns);
        if caller.poll_closed(cx).is_ready() && !runs_on {
            return Poll::Ready(());
        }
        // A machine that was paused may find a deadline passed that no timer has told of yet.
        let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let answer = if is_late && !runs_on && !mutant::is_exempt_while_connecting() {
            Err(deadline::exceeded())
        } else {
            std::task::ready!(self.answer.as_mut().poll(cx))
        };
        if let Some(caller) = self.caller.take() {
            // An error means that the caller went away in this very moment; nobody is left to tell.
            drop(caller.send(answer));
        }
        Poll::Ready(())
    }
}

/// Sees whether the actor dies over this call: it is then dropped while the stack unwinds. Calls that
/// only wait in the mailbox of that actor are dropped later, in peace.
#[derive(Debug)]
struct Witness(CallContext);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_panicked();
        }
    }
}

/// What the caller of a handler that panicked is told: nothing of the inside.
pub(crate) fn panicked() -> Status {
    Status::internal("the handler panicked")
}
