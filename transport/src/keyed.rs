//! One actor for each key: started with the first call for its key, given up when it has been idle for long enough.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::dev::channel::{AddressReceiver, channel};
use actix::{Actor, Addr, Context};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::error;

use crate::context::CallContext;
use crate::contract::{Contract, Method, Rpc};
use crate::gauges::{Gauge, Gauges, Holds, Reading};
use crate::place::{Locate, tell_of_restart};
use crate::status::{Result, Status};
use crate::tasks::Tasks;
use crate::witness;

/// How the calls of a service are keyed, and how many actors there may be.
#[derive(Default)]
pub struct Keys {
    /// By path; each is a [`KeyOf`] of its method's request.
    of: BTreeMap<&'static str, KeyFunction>,
    idle_after: Option<Duration>,
    most: Option<usize>,
}

type KeyFunction = Box<dyn Fn(&dyn Any) -> Option<String> + Send + Sync>;

/// How long an actor is idle until it is given up, with nothing said.
const IDLE_AFTER: Duration = Duration::from_secs(300);

/// Idle actors are looked for no more often than this.
const SWEEP_MIN: Duration = Duration::from_millis(10);

/// How many actors there are at most, with nothing said.
const MOST: usize = 10_000;

impl Keys {
    /// No rpc is keyed yet. Actors are given up after five minutes without a call, and there are 10,000 at most.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls of the rpc `M` go to the actor of the key that `key` reads from the request.
    #[must_use]
    pub fn of<M: Method>(mut self, key: impl Fn(&M::Request) -> String + Send + Sync + 'static) -> Self {
        self.of.insert(M::PATH, Box::new(move |request| request.downcast_ref().map(&key)));
        self
    }

    /// Gives an actor up that had no call for so long, and with it what it knows.
    #[must_use]
    pub fn idle_after(self, idle: Duration) -> Self {
        Self { idle_after: Some(idle), ..self }
    }

    /// So many actors at most. Where there are as many, the one that was idle longest makes room for a new key; if
    /// none is idle, calls for a new key are refused with `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn at_most(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }

    /// # Panics
    ///
    /// If an rpc of the contract has no key.
    pub(crate) fn check<C: Contract>(&self) {
        for Rpc { path, .. } in C::METHODS {
            assert!(
                self.of.contains_key(path),
                "{} is placed by key, and {path} has none: expected Keys::of with its method",
                C::NAME
            );
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.of.keys()).finish()
    }
}

/// The actors of one service in one node, by key.
pub(crate) struct Keyed<A: Actor> {
    service: &'static str,
    keys: Keys,
    actors: Mutex<Actors<A>>,
    /// Those that run, also when they are given up.
    acting: Tasks,
}

struct Actors<A: Actor> {
    of: HashMap<Arc<str>, KeyedActor<A>>,
    /// Those without a call, by the time since when.
    idle: BTreeSet<(Instant, Arc<str>)>,
    /// Where each worker waits for actors to start.
    workers: Vec<mpsc::UnboundedSender<Start<A>>>,
}

struct KeyedActor<A: Actor> {
    address: Arc<Addr<A>>,
    calls: usize,
    idle_since: Option<Instant>,
}

/// An actor to start: its key, and the other end of its address.
struct Start<A: Actor> {
    key: Arc<str>,
    mailbox: AddressReceiver<A>,
}

impl<A: Actor<Context = Context<A>>> Start<A> {
    /// An actor that cannot be made has died: its calls are told so, and the next one tries again.
    fn run(self, tasks: &Tasks, make: &impl Fn(&str) -> A) {
        match catch_unwind(AssertUnwindSafe(|| make(&self.key))) {
            Ok(actor) => tasks.spawn(witness::life_of(actor, Context::with_receiver(self.mailbox))),
            Err(_) => error!(key = &*self.key, "the actor could not be made"),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Keyed<A> {
    pub(crate) fn new(service: &'static str, keys: Keys) -> Self {
        let actors = Actors { of: HashMap::new(), idle: BTreeSet::new(), workers: Vec::new() };
        Self { service, keys, actors: Mutex::new(actors), acting: Tasks::new("acting") }
    }

    /// Lets actors live on this thread from now on, made by `make`.
    pub(crate) fn join(self: Arc<Self>, gauges: &Gauges, make: impl Fn(&str) -> A + 'static) {
        let (sender, mut starts) = mpsc::unbounded_channel::<Start<A>>();
        self.lock().workers.push(sender);
        // The actors of all workers are read at once, so that one worker registers them for the node.
        if self.lock().workers.len() == 1 {
            gauges.watch(&self);
        }
        let (actors, acting) = (Arc::downgrade(&self), self.acting.clone());
        let mut sweep = interval((self.idle_after() / 2).max(SWEEP_MIN));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        drop(self);
        // One for each worker, for as long as that is there: there is nothing to count.
        actix_rt::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = sweep.tick() => match actors.upgrade() {
                        Some(actors) => actors.lock().give_up_idle(actors.idle_after()),
                        None => return,
                    },
                    start = starts.recv() => match start {
                        Some(start) => start.run(&acting, &make),
                        None => return,
                    }
                }
            }
        });
    }

    fn idle_after(&self) -> Duration {
        self.keys.idle_after.unwrap_or(IDLE_AFTER)
    }

    fn lock(&self) -> MutexGuard<'_, Actors<A>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Actor<Context = Context<A>>> Holds for Keyed<A> {
    fn tell(&self, reading: &mut Reading) {
        let actors = self.lock();
        reading.add(Gauge::KeyedActors, self.service, "", actors.of.len());
        reading.add(Gauge::KeyedActorsIdle, self.service, "", actors.idle.len());
        self.acting.tell(self.service, reading);
    }
}

impl<A: Actor<Context = Context<A>>> Locate<A> for Arc<Keyed<A>> {
    fn locate(&self, path: &'static str, request: &dyn Any, call: &CallContext) -> Result<Arc<Addr<A>>> {
        let key = self.keys.of.get(path).and_then(|key| key(request));
        let key: Arc<str> = key.ok_or_else(|| Status::internal("the call has no key"))?.into();
        let address = self.lock().lease(&key, self.keys.most.unwrap_or(MOST))?;
        call.keep(Arc::new(Lease { actors: self.clone(), key }));
        Ok(address)
    }
}

impl<A: Actor<Context = Context<A>>> Actors<A> {
    /// The address of the actor of `key`, which is not given up until it is released as often as it was leased.
    fn lease(&mut self, key: &Arc<str>, most: usize) -> Result<Arc<Addr<A>>> {
        if !self.of.contains_key(key) {
            self.make_room(most)?;
            let address = self.start(key)?;
            self.of.insert(key.clone(), KeyedActor { address, calls: 0, idle_since: None });
        }
        if self.of.get(key).is_some_and(|actor| !actor.address.connected()) {
            tell_of_restart(std::any::type_name::<A>());
            let address = self.start(key)?;
            self.of.entry(key.clone()).and_modify(|actor| actor.address = address);
        }
        let actor = self.of.get_mut(key).ok_or_else(|| Status::internal("the actor was just started"))?;
        if let Some(since) = actor.idle_since.take() {
            self.idle.remove(&(since, key.clone()));
        }
        actor.calls += 1;
        Ok(actor.address.clone())
    }

    fn release(&mut self, key: &Arc<str>) {
        let Some(actor) = self.of.get_mut(key) else { return };
        actor.calls = actor.calls.saturating_sub(1);
        if actor.calls == 0 {
            let now = Instant::now();
            actor.idle_since = Some(now);
            self.idle.insert((now, key.clone()));
        }
    }

    /// A key lives on one worker; which one follows from the key.
    fn start(&mut self, key: &Arc<str>) -> Result<Arc<Addr<A>>> {
        self.workers.retain(|worker| !worker.is_closed());
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % self.workers.len().max(1) as u64).unwrap_or_default();
        let worker = self.workers.get(place).ok_or_else(|| Status::unavailable("no worker is running"))?;
        // Without a bound: admission is the bound.
        let (sender, mailbox) = channel(0);
        worker
            .send(Start { key: key.clone(), mailbox })
            .map_err(|_| Status::unavailable("the worker is shutting down"))?;
        Ok(Arc::new(Addr::new(sender)))
    }

    fn make_room(&mut self, most: usize) -> Result<()> {
        if self.of.len() < most {
            return Ok(());
        }
        let (_, key) = self.idle.pop_first().ok_or_else(|| {
            Status::resource_exhausted(format!("there are {most} keys with calls, and no room for another"))
        })?;
        self.of.remove(&key);
        Ok(())
    }

    /// An actor whose last address is gone stops.
    fn give_up_idle(&mut self, idle_after: Duration) {
        let now = Instant::now();
        while let Some((since, key)) = self.idle.first()
            && now.saturating_duration_since(*since) >= idle_after
        {
            self.of.remove(key);
            self.idle.pop_first();
        }
    }
}

/// Keeps the actor of a key for as long as a call to it lasts, and the work that outlives it.
struct Lease<A: Actor<Context = Context<A>>> {
    actors: Arc<Keyed<A>>,
    key: Arc<str>,
}

impl<A: Actor<Context = Context<A>>> Drop for Lease<A> {
    fn drop(&mut self) {
        self.actors.lock().release(&self.key);
    }
}
