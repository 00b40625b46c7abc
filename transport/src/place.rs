//! Where an actor lives, and that there is one: it is started again when it has died.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix::{Actor, Addr};
use tracing::error;

use crate::admission::Admission;
use crate::context::CallContext;
use crate::status::{Result, Status};
use crate::witness;

/// Makes an actor, on the worker whose clients it is given.
pub(crate) type Make<A> = Arc<dyn Fn() -> A + Send + Sync>;

/// Finds the actor for a call.
pub(crate) trait Locate<A: Actor>: Send + Sync {
    /// The actor that handles the call of `path` with this request, which is of its method's type. In an `Arc`, since
    /// actix makes a clone of an address a sender of its own, which takes two allocations.
    fn locate(&self, path: &'static str, request: &dyn Any, call: &CallContext) -> Result<Arc<Addr<A>>>;
}

/// Actix takes what is sent to a full mailbox, and wakes its senders unreliably. Admission is the bound.
const UNBOUNDED: usize = 0;

fn start<A: Actor<Context = actix::Context<A>>>(actor: A) -> Arc<Addr<A>> {
    let mut context = actix::Context::new();
    context.set_mailbox_capacity(UNBOUNDED);
    Arc::new(witness::run(actor, context))
}

/// Starts an actor that was there before: whoever calls it is told if it cannot be made.
fn start_again<A: Actor<Context = actix::Context<A>>>(make: &Make<A>) -> Result<Arc<Addr<A>>> {
    tell_of_restart(std::any::type_name::<A>());
    let made = catch_unwind(AssertUnwindSafe(|| make()));
    let actor = made.map_err(|_| Status::internal("the actor could not be made"))?;
    Ok(start(actor))
}

pub(crate) fn tell_of_restart(actor: &'static str) {
    error!(actor, "the actor has died and is started again");
}

/// The actor of one worker, on its own thread.
pub(crate) struct Supervised<A: Actor> {
    /// The lock is never contended: a router stays on one thread. It is there because a handle to the
    /// router may be dropped anywhere.
    address: Mutex<Arc<Addr<A>>>,
    make: Make<A>,
}

impl<A: Actor<Context = actix::Context<A>>> Supervised<A> {
    /// Starts the actor on this thread.
    pub(crate) fn start(make: Make<A>) -> Self {
        Self { address: Mutex::new(start(make())), make }
    }
}

impl<A: Actor<Context = actix::Context<A>>> Locate<A> for Supervised<A> {
    fn locate(&self, _: &'static str, _: &dyn Any, _: &CallContext) -> Result<Arc<Addr<A>>> {
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if !address.connected() {
            *address = start_again(&self.make)?;
        }
        Ok(address.clone())
    }
}

/// The one actor of a node, on the thread of whichever worker started it.
pub(crate) struct NodeWide<A: Actor> {
    address: Arc<Mutex<Option<Arc<Addr<A>>>>>,
    admission: OnceLock<Arc<Admission>>,
}

impl<A: Actor> Default for NodeWide<A> {
    fn default() -> Self {
        Self { address: Arc::default(), admission: OnceLock::new() }
    }
}

impl<A: Actor<Context = actix::Context<A>>> NodeWide<A> {
    /// The admission that all workers share; the first of them makes it.
    pub(crate) fn admission(&self, make: impl FnOnce() -> Arc<Admission>) -> Arc<Admission> {
        self.admission.get_or_init(make).clone()
    }

    /// The view that one worker has of the actor, which is started now if it is not there.
    pub(crate) fn join(&self, make: Make<A>) -> Seen<A> {
        let known = Mutex::new(first(&self.address, &make));
        Seen { known, address: self.address.clone(), make }
    }
}

/// The actor of the node as one worker knows it, so that workers share no lock while it lives.
pub(crate) struct Seen<A: Actor> {
    known: Mutex<Arc<Addr<A>>>,
    address: Arc<Mutex<Option<Arc<Addr<A>>>>>,
    make: Make<A>,
}

impl<A: Actor<Context = actix::Context<A>>> Locate<A> for Seen<A> {
    fn locate(&self, _: &'static str, _: &dyn Any, _: &CallContext) -> Result<Arc<Addr<A>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.connected() {
            *known = current(&self.address, &self.make)?;
        }
        Ok(known.clone())
    }
}

/// The address of the actor; of a new one on this thread if there was none. A panic of its making ends the worker.
fn first<A: Actor<Context = actix::Context<A>>>(
    address: &Mutex<Option<Arc<Addr<A>>>>,
    make: &Make<A>,
) -> Arc<Addr<A>> {
    let mut address = address.lock().unwrap_or_else(PoisonError::into_inner);
    address.get_or_insert_with(|| start(make())).clone()
}

/// The address of the actor; of a new one on this thread if it has died.
fn current<A: Actor<Context = actix::Context<A>>>(
    address: &Mutex<Option<Arc<Addr<A>>>>,
    make: &Make<A>,
) -> Result<Arc<Addr<A>>> {
    let mut address = address.lock().unwrap_or_else(PoisonError::into_inner);
    match &*address {
        Some(alive) if alive.connected() => Ok(alive.clone()),
        _ => Ok(address.insert(start_again(make)?).clone()),
    }
}
