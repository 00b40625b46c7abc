//! The state of an actor, seen from work that waits in between.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext as _};
use tokio::sync::{mpsc, oneshot};

use crate::context::CallContext;
use crate::deadline;
use crate::status::{self, Result, Status};

/// The way to the state of an actor from work that waits in between: a handler, or work that outlives its call.
/// Cheap to clone.
///
/// The work does not borrow the actor, it asks for a moment with it. In that moment nothing else happens to the
/// actor; before and after it other calls are handled, so what was seen earlier may have changed.
pub struct State<A: Actor<Context = actix::Context<A>>> {
    acts: mpsc::UnboundedSender<Act<A>>,
}

type Act<A> = Box<dyn FnOnce(&mut A) + Send>;

impl<A: Actor<Context = actix::Context<A>>> State<A> {
    /// The way to the actor whose context this is. The actor lives on while there is one.
    #[must_use]
    pub fn of(context: &mut actix::Context<A>) -> Self {
        // Without a bound, since whoever sends an act waits for it before the next.
        let (acts, waiting) = mpsc::unbounded_channel();
        context.spawn(Acts { waiting });
        Self { acts }
    }

    /// Runs `act` with the actor, when it has a moment, and gives what `act` returns. Its log lines are those of the
    /// call from which it is asked for. If this future is dropped before that, `act` does not run: what comes after a
    /// deadline or a cancelled call changes nothing.
    ///
    /// # Errors
    ///
    /// `DEADLINE_EXCEEDED` if the call's deadline has passed by then; `INTERNAL` if `act` panics, which kills the actor; `UNAVAILABLE` if the actor has died before.
    pub async fn with<R: Send + 'static>(&self, act: impl FnOnce(&mut A) -> R + Send + 'static) -> Result<R> {
        let (tell, told) = oneshot::channel();
        let context = CallContext::current();
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&has_begun);
        let act = move |actor: &mut A| {
            if tell.is_closed() {
                return;
            }
            begins.store(true, Ordering::Relaxed);
            let result = match &context {
                Some(context) if context.is_late() => Err(deadline::exceeded()),
                Some(context) => Ok(context.sync_scope(|| act(actor))),
                None => Ok(act(actor)),
            };
            // An error means that the caller went away in this very moment.
            drop(tell.send(result));
        };
        let has_died = || Status::unavailable("the actor has just died");
        self.acts.send(Box::new(act)).map_err(|_| has_died())?;
        told.await.unwrap_or_else(|_| {
            Err(if has_begun.load(Ordering::Relaxed) { status::panicked() } else { has_died() })
        })
    }
}

impl<A: Actor<Context = actix::Context<A>>> Clone for State<A> {
    fn clone(&self) -> Self {
        Self { acts: self.acts.clone() }
    }
}

impl<A: Actor<Context = actix::Context<A>>> fmt::Debug for State<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Runs the acts that are waiting, in their order, in the context of their actor.
struct Acts<A: Actor<Context = actix::Context<A>>> {
    waiting: mpsc::UnboundedReceiver<Act<A>>,
}

impl<A: Actor<Context = actix::Context<A>>> ActorFuture<A> for Acts<A> {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        _: &mut actix::Context<A>,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        while let Some(act) = std::task::ready!(self.waiting.poll_recv(task)) {
            act(actor);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use actix::Addr;
    use futures_util::FutureExt as _;
    use tokio::task::LocalSet;
    use tokio::time::Instant;
    use tonic::Code;
    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::net::CallerAddress;
    use crate::request_id::RequestId;

    struct Counter(u32);

    impl Actor for Counter {
        type Context = actix::Context<Self>;
    }

    /// A counter at 0 on this thread, and the way to it.
    fn counter() -> (Addr<Counter>, State<Counter>) {
        let mut state = None;
        let counter = Counter::create(|context| {
            state = Some(State::of(context));
            Counter(0)
        });
        (counter, state.expect("the actor was made"))
    }

    #[tokio::test]
    async fn a_call_that_is_late_changes_nothing_though_nobody_has_told_it_so() {
        let claim = async {
            let (_counter, state) = counter();
            let (now, nothing) = (Some(Instant::now()), MetadataMap::new());
            let late = CallContext::new(RequestId::fresh(), now, None, CallerAddress::Memory, nothing);
            let refused = late.scope(state.with(|counter| counter.0 += 1)).await.expect_err("it is late");
            assert_eq!(refused.code(), Code::DeadlineExceeded);
            assert_eq!(state.with(|counter| counter.0).await.expect("it lives"), 0);
        };
        LocalSet::new().run_until(claim).await;
    }

    #[tokio::test]
    async fn who_has_gone_before_the_actor_had_a_moment_changes_nothing() {
        let claim = async {
            let (_counter, state) = counter();
            let asked = state.with(|counter| counter.0 += 1).now_or_never();
            assert!(asked.is_none(), "the actor has not run yet");
            assert_eq!(state.with(|counter| counter.0).await.expect("it lives"), 0);
        };
        LocalSet::new().run_until(claim).await;
    }
}
