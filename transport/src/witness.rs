//! Over which call an actor has died: that one failed, those that were waiting in its mailbox were not handled.
//!
//! What unwinds with a panic is what the actor was at: its handler, and the call that this had in hand. The actor and its
//! mailbox are dropped when that is over, so that calls that were only waiting are dropped in peace, whatever the actor
//! has died over.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix::dev::ContextFut;
use actix::{Actor, Addr, AsyncContext as _};

use crate::context::CallContext;

/// Runs `actor` on this thread, so that those who were waiting learn when it has died.
pub(crate) fn run<A>(actor: A, context: actix::Context<A>) -> Addr<A>
where
    A: Actor<Context = actix::Context<A>>,
{
    let address = context.address();
    actix_rt::spawn(life_of(actor, context));
    address
}

/// The life of `actor`, to be spawned on this thread by who has its address already: as with [`run`], those who wait learn when it
/// has died.
pub(crate) fn life_of<A>(actor: A, context: actix::Context<A>) -> impl Future<Output = ()> + 'static
where
    A: Actor<Context = actix::Context<A>>,
{
    Mortal(Some(context.into_future(actor)))
}

/// An actor that may die; none when it has.
struct Mortal<A: Actor<Context = actix::Context<A>>>(Option<ContextFut<A, actix::Context<A>>>);

impl<A: Actor<Context = actix::Context<A>>> Future for Mortal<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(actor) = &mut self.0 else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(actor).poll(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                self.0 = None;
                resume_unwind(panic)
            }
        }
    }
}

/// Sees whether the actor dies over this call, which is in a handler's hands or has been there until now.
#[derive(Debug)]
pub(crate) struct Witness(CallContext);

impl Witness {
    pub(crate) fn of(call: CallContext) -> Self {
        Self(call)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_panicked();
        }
    }
}
