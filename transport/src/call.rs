//! What an actor sees of a call, and what becomes of its answer.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::dev::{MessageResponse, OneshotSender};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::task::noop_waker_ref;

use crate::admission::{Counted, Permit, Taken};
use crate::context::CallContext;
use crate::contract::Method;
use crate::deadline;
use crate::state::State;
use crate::status::{self, Result};
use crate::witness::Witness;

/// Stands around every handler. Rehearsals make handlers slow or broken with it; production has none.
pub trait Interceptor: Send + Sync {
    /// Lets in a call that was admitted, on its way to its actor: it may wait, or refuse the call. What it gives is
    /// held as long as the permit: until the handler is done or dropped, and a streamed answer has ended.
    /// `is_streaming` says whether the call was admitted as a stream, by its request or its answer.
    fn admit<'a>(
        &'a self,
        context: &'a CallContext,
        path: &'static str,
        is_streaming: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Held>>>;

    /// Is told of a call that has its permit while its request has not come as a whole, or while another one of the same
    /// idempotency key is handled. What this gives is held until that is over, or the call has ended.
    fn awaits_request(
        &self,
        _context: &CallContext,
        _path: &'static str,
        _is_streaming: bool,
    ) -> Option<Box<dyn Held>> {
        None
    }
}

/// What an [`Interceptor`] holds while a call has its permit.
pub trait Held: Send + Sync {
    /// The handler begins. This is called inside of it, so that a panic here is a panic of the handler.
    fn begin(&self) {}
}

/// A call to the method `M`: the request, and what travels with it. It was admitted: its service had room for it.
pub struct Call<M: Method> {
    /// What is asked.
    pub request: M::Request,
    /// What travels with it.
    pub context: CallContext,
    ticket: Ticket,
    witness: Witness,
}

/// What a call holds until its handler is done or dropped.
pub(crate) struct Ticket {
    running: Option<Counted>,
    stay: Arc<Stay>,
}

/// What a call holds until its handler is done or dropped, and a streamed answer has ended.
pub(crate) struct Stay {
    /// Told of before the permit is given up, so that nobody is told of more calls than there are permits.
    held: Option<Box<dyn Held>>,
    permit: Permit,
}

impl Stay {
    pub(crate) fn new(held: Option<Box<dyn Held>>, permit: Permit) -> Arc<Self> {
        Arc::new(Self { held, permit })
    }
}

impl Ticket {
    pub(crate) fn new(stay: Arc<Stay>) -> Self {
        Self { running: None, stay }
    }

    /// Must be called in the context of the call.
    fn begin(&mut self) {
        CallContext::with_current(|context| context.into_iter().for_each(CallContext::set_begun));
        self.running = Some(self.stay.permit.admission().one(Taken::Handlers));
        if let Some(held) = &self.stay.held {
            held.begin();
        }
    }
}

impl<M: Method> actix::Message for Call<M> {
    type Result = Result<M::Response>;
}

impl<M: Method> Call<M> {
    pub(crate) fn new(request: M::Request, context: CallContext, ticket: Ticket) -> Self {
        let witness = Witness::of(context.clone());
        Self { request, context, ticket, witness }
    }

    /// Answers with what `handler` comes to, in the context of this call. The handler may wait, other calls are
    /// handled meanwhile, and it does not see the actor.
    ///
    /// Log lines of the handler carry the call's request id; calls made from within inherit its
    /// request id and what is left of its deadline. If the caller goes away or the deadline passes, the
    /// handler's future is dropped where it stands. A panic becomes `INTERNAL` for this one call.
    pub fn answer<F>(self, handler: F) -> Reply<M>
    where
        F: AsyncFnOnce(M::Request) -> Result<M::Response> + 'static,
    {
        let (request, context, mut ticket) = (self.request, self.context, self.ticket);
        let work = async move {
            ticket.begin();
            let answer = handler(request).await;
            drop(ticket);
            answer
        };
        let work = context.scope(AssertUnwindSafe(work).catch_unwind());
        let work = work.map(|answer| answer.unwrap_or_else(|_| Err(status::panicked())));
        Reply { answer: Answer::InTheMaking(Box::pin(work)), context, _witness: self.witness }
    }

    /// Answers at once with what `handler` returns. It may borrow the actor, and change it: what it does is done
    /// when the next call begins. A call whose deadline has passed by now is refused and changes nothing.
    ///
    /// A panic kills the actor, since its state may be half changed: it is started again with the next call. Its
    /// caller is told `INTERNAL`.
    pub fn answer_now(self, handler: impl FnOnce(M::Request) -> Result<M::Response>) -> Reply<M> {
        let (request, context, mut ticket) = (self.request, self.context, self.ticket);
        let answer = match context.is_late() {
            true => Err(deadline::exceeded()),
            false => context.sync_scope(|| {
                ticket.begin();
                handler(request)
            }),
        };
        Reply { answer: Answer::Made(answer), context, _witness: self.witness }
    }

    /// Answers with what `handler` comes to. It may wait, as with [`answer`](Self::answer), and it may look at the
    /// actor and change it by [`State::with`]: each time for a moment in which nothing else happens to the actor.
    /// Between two such moments, other calls are handled.
    pub fn answer_with_state<A, F>(self, actor: &mut actix::Context<A>, handler: F) -> Reply<M>
    where
        A: actix::Actor<Context = actix::Context<A>>,
        F: AsyncFnOnce(State<A>, M::Request) -> Result<M::Response> + 'static,
    {
        let state = State::of(actor);
        self.answer(async move |request| handler(state, request).await)
    }
}

impl<M: Method> fmt::Debug for Call<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&M::PATH).field(&self.context).finish()
    }
}

/// The answer to a call, or one in the making.
#[must_use = "a reply that is dropped answers nothing"]
pub struct Reply<M: Method> {
    answer: Answer<M::Response>,
    context: CallContext,
    /// The actor may die between making this and returning it.
    _witness: Witness,
}

enum Answer<T> {
    Made(Result<T>),
    InTheMaking(LocalBoxFuture<'static, Result<T>>),
}

impl<M: Method> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&M::PATH).finish()
    }
}

impl<A: actix::Actor, M: Method> MessageResponse<A, Call<M>> for Reply<M> {
    fn handle(self, _: &mut A::Context, tx: Option<OneshotSender<Result<M::Response>>>) {
        let Some(caller) = tx else { return };
        let answer = match self.answer {
            // An error means that the caller went away in this very moment; nobody is left to tell.
            Answer::Made(answer) => return drop(caller.send(answer)),
            Answer::InTheMaking(answer) => answer,
        };
        let mut work = Work::<M> { answer, caller: Some(caller), context: self.context };
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
    context: CallContext,
}

impl<M: Method> Future for Work<M> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(caller) = &mut self.caller else { return Poll::Ready(()) };
        if caller.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        let answer = match self.context.is_late() {
            true => Err(deadline::exceeded()),
            false => std::task::ready!(self.answer.as_mut().poll(cx)),
        };
        if let Some(caller) = self.caller.take() {
            // An error means that the caller went away in this very moment; nobody is left to tell.
            drop(caller.send(answer));
        }
        Poll::Ready(())
    }
}
