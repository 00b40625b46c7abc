//! A service that holds state, and workers that host it.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler};
use futures_util::{StreamExt as _, stream};
use probe_contract::Total;
use probe_contract::counter::{self, Add, AddAfterwards, AddLater, Counter, Watch};
use tokio::sync::Notify;
use transport::memory::Memory;
use transport::router::RouterBuilder;
use transport::{
    Call, CallContext, Client, Drain, Limits, Reply, Router, Serve, Service, ServiceClient as _, State,
    Streaming,
};

use super::limits::SOON;

/// How long work may outlive its call here.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(2);

/// This amount makes the counter die when its answer is made already.
pub(crate) const DIES_ANSWERED: i64 = i64::MIN;

/// This one makes it die over work of its own, when it is told to go on; until then no call is handled.
pub(crate) const DIES_BY_ITSELF: i64 = i64::MIN + 1;

/// Adds up; a negative amount makes it panic when it is half done.
pub(crate) struct CounterActor {
    pub(crate) total: i64,
    go_on: Arc<Notify>,
}

impl CounterActor {
    pub(crate) fn new(go_on: Arc<Notify>) -> Self {
        Self { total: 0, go_on }
    }

    fn add(&mut self, amount: i64) -> Total {
        let before = self.total;
        self.total += amount;
        if amount < 0 {
            sim::planned_panic();
        }
        Total { total: self.total, before }
    }
}

impl Actor for CounterActor {
    type Context = Context<Self>;
}

impl Serve for CounterActor {
    type Contract = Counter;
}

impl Handler<Call<Add>> for CounterActor {
    type Result = Reply<Add>;

    fn handle(&mut self, call: Call<Add>, actor: &mut Context<Self>) -> Self::Result {
        let amount = call.request.amount;
        if amount == DIES_BY_ITSELF {
            let go_on = self.go_on.clone();
            let own = wrap_future::<_, Self>(async move { go_on.notified().await });
            actor.wait(own.map(|(), _, _| sim::planned_panic()));
        }
        if amount > DIES_BY_ITSELF {
            return call.answer_now(|request| Ok(self.add(request.amount)));
        }
        let reply = call.answer_now(|_| Ok(Total { total: self.total, before: self.total }));
        if amount == DIES_ANSWERED {
            sim::planned_panic();
        }
        reply
    }
}

impl Handler<Call<AddLater>> for CounterActor {
    type Result = Reply<AddLater>;

    fn handle(&mut self, call: Call<AddLater>, actor: &mut Context<Self>) -> Self::Result {
        let go_on = self.go_on.clone();
        call.answer_with_state(actor, async move |state: State<Self>, request| {
            let before = state.with(|counter| counter.total).await?;
            go_on.notified().await;
            let total = state.with(move |counter| counter.add(request.amount)).await?.total;
            Ok(Total { total, before })
        })
    }
}

impl Handler<Call<AddAfterwards>> for CounterActor {
    type Result = Reply<AddAfterwards>;

    fn handle(&mut self, call: Call<AddAfterwards>, actor: &mut Context<Self>) -> Self::Result {
        let (state, go_on, context) = (State::of(actor), self.go_on.clone(), call.context.clone());
        call.answer_now(|request| {
            context.spawn(AFTERWARDS, async move {
                go_on.notified().await;
                let id = CallContext::with_current(|call| call.map(|call| call.request_id().to_string()));
                assert!(id.is_some(), "work that outlives its call has the id of its request");
                state.with(move |counter| counter.add(request.amount)).await.expect("the counter lives");
            })?;
            Ok(Total { total: self.total, before: self.total })
        })
    }
}

impl Handler<Call<Watch>> for CounterActor {
    type Result = Reply<Watch>;

    fn handle(&mut self, call: Call<Watch>, _: &mut Context<Self>) -> Self::Result {
        let (context, total) = (call.context.clone(), self.total);
        call.answer(async move |_| {
            let first = stream::iter([Ok(Total { total, before: total })]);
            // Of this thread alone, as what an actor has to tell may be.
            let draining = std::rc::Rc::new(context);
            let rest = stream::once(async move {
                draining.drain_started().await;
                None
            });
            Ok(Streaming::local(first.chain(rest.filter_map(std::future::ready))))
        })
    }
}

/// One counter in the node, which goes on where it waits for that when `go_on` says so.
pub(crate) fn in_the_node(go_on: &Arc<Notify>) -> Service {
    let go_on = go_on.clone();
    Service::in_node(move |()| CounterActor::new(go_on.clone()))
}

/// A worker that hosts `service` on this thread, and a client that reaches it in memory.
pub(crate) fn worker(service: &Service, limits: Limits, drain: &Drain) -> (Router, counter::Client) {
    worker_with(service, limits, drain, |_| {})
}

/// The same, whose router is prepared by `prepare` before it hosts anything.
pub(crate) fn worker_with(
    service: &Service,
    limits: Limits,
    drain: &Drain,
    prepare: impl FnOnce(&mut RouterBuilder),
) -> (Router, counter::Client) {
    let memory = Memory::new();
    let mut router = Router::builder(limits, drain.clone());
    prepare(&mut router);
    router.add(service, &|name| unreachable!("the counter calls no {name}"));
    let router = router.build();
    memory.lead_to(&router);
    (router, counter::Client::new(Client::new(memory, SOON, limits)))
}
