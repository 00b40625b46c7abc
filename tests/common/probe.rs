//! A service that does what it is told.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler};
use futures_util::{StreamExt as _, stream};
use probe_contract::probe::{self, Act, Count, Mirror, Probe, Sum};
use probe_contract::{ActRequest, ActResponse, CountResponse, Deed, SumResponse};
use tokio::sync::{Notify, mpsc};
use transport::router::RouterBuilder;
use transport::{
    Call, CallContext, Drain, Reply, Result, Router, Serve, Service, ServiceClient as _, Status, Streaming,
};

use super::limits::LIMITS;

/// What the probe tells of its handlers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A handler that will hang has begun, or the actor is occupied.
    Started,
    /// The future of a handler that hung was dropped.
    Dropped,
}

/// What the probe is made of: a client of itself, an ear, and word that an actor that is occupied is free again.
#[derive(Clone)]
pub(crate) struct ProbeParts {
    probe: probe::Client,
    events: mpsc::UnboundedSender<Event>,
    free: Arc<Notify>,
}

pub(crate) struct ProbeActor(ProbeParts);

impl Actor for ProbeActor {
    type Context = Context<Self>;
}

impl Serve for ProbeActor {
    type Contract = Probe;
}

/// Tells when it is dropped.
struct Witness(mpsc::UnboundedSender<Event>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.send(Event::Dropped).ok();
    }
}

impl ProbeParts {
    async fn hang<T>(&self) -> T {
        let _witness = Witness(self.events.clone());
        self.events.send(Event::Started).ok();
        std::future::pending().await
    }
}

impl Handler<Call<Act>> for ProbeActor {
    type Result = Reply<Act>;

    fn handle(&mut self, call: Call<Act>, actor: &mut Context<Self>) -> Self::Result {
        let parts = self.0.clone();
        match call.request.deed() {
            Deed::Die => sim::planned_panic(),
            Deed::Occupy => {
                let free = parts.free.clone();
                let busy = async move { free.notified().await };
                actor.wait(actix::fut::wrap_future::<_, Self>(busy).map(|(), _, _| ()));
                parts.events.send(Event::Started).ok();
            }
            _ => {}
        }
        call.answer(async move |request| act(request, &parts).await)
    }
}

async fn act(request: ActRequest, parts: &ProbeParts) -> Result<ActResponse> {
    let context = CallContext::current().ok_or_else(|| Status::internal("no context"))?;
    let left_ms = context.remaining().map_or(-1, |left| left.as_millis() as i64);
    match request.deed() {
        Deed::Fail => Err(failure()),
        Deed::Hang => parts.hang().await,
        Deed::Panic => sim::planned_panic(),
        Deed::Metadata => {
            let text = context.metadata().get("x-probe").cloned();
            let bytes = context.metadata().get_bin("x-probe-bin").cloned();
            context.answer_metadata(|metadata| {
                text.into_iter().for_each(|text| drop(metadata.insert("x-probe", text)));
                bytes.into_iter().for_each(|bytes| drop(metadata.insert_bin("x-probe-bin", bytes)));
            });
            let mut names: Vec<_> = context.metadata().as_ref().keys().map(ToString::to_string).collect();
            names.sort();
            Ok(ActResponse { text: names.join(" "), ..Default::default() })
        }
        Deed::Report => {
            Ok(ActResponse { text: context.request_id().to_string(), left_ms, ..Default::default() })
        }
        Deed::Relay => {
            let ask = ActRequest { deed: Deed::Report.into(), ..Default::default() };
            let answer = parts.probe.act(ask).await?;
            let text = format!("{} {}", context.request_id(), answer.text);
            Ok(ActResponse { text, left_ms: answer.left_ms, ..Default::default() })
        }
        Deed::Answer | Deed::Occupy | Deed::Die => {
            let text = if request.loud { request.text.to_uppercase() } else { request.text };
            Ok(ActResponse { text, left_ms: 0, numbers: request.numbers })
        }
    }
}

/// What a probe fails with.
pub(crate) fn failure() -> Status {
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("x-reason", "told so".parse().expect("a value"));
    Status::with_details_and_metadata(
        transport::Code::InvalidArgument,
        "wrong, \u{fc}ber and 100%\n",
        bytes::Bytes::from_static(b"\x08\x03details"),
        metadata,
    )
}

impl Handler<Call<Count>> for ProbeActor {
    type Result = Reply<Count>;

    fn handle(&mut self, call: Call<Count>, _: &mut Context<Self>) -> Self::Result {
        let parts = self.0.clone();
        call.answer(async move |request| {
            let numbers = stream::iter(1..=request.messages).map(|number| Ok(CountResponse { number }));
            let then = stream::once(async move {
                match request.then() {
                    Deed::Fail => Some(Err(failure())),
                    Deed::Panic => sim::planned_panic(),
                    Deed::Hang => parts.hang().await,
                    _ => None,
                }
            });
            Ok(Streaming::new(numbers.chain(then.filter_map(std::future::ready))))
        })
    }
}

impl Handler<Call<Sum>> for ProbeActor {
    type Result = Reply<Sum>;

    fn handle(&mut self, call: Call<Sum>, _: &mut Context<Self>) -> Self::Result {
        call.answer(async move |mut numbers| {
            let mut sum = 0;
            while let Some(next) = numbers.next().await {
                sum += u64::from(next?.number);
            }
            Ok(SumResponse { sum })
        })
    }
}

impl Handler<Call<Mirror>> for ProbeActor {
    type Result = Reply<Mirror>;

    fn handle(&mut self, call: Call<Mirror>, _: &mut Context<Self>) -> Self::Result {
        let witness = Witness(self.0.events.clone());
        call.answer(async move |numbers| {
            Ok(Streaming::new(numbers.map(move |next| {
                let _kept = &witness;
                next.map(|next| CountResponse { number: next.number })
            })))
        })
    }
}

/// The probe as a service; `probe` is its client of itself.
pub(crate) fn service(probe: &probe::Client) -> (Service, mpsc::UnboundedReceiver<Event>, Arc<Notify>) {
    let (tell, events) = mpsc::unbounded_channel();
    let free = Arc::new(Notify::new());
    let parts = ProbeParts { probe: probe.clone(), events: tell, free: free.clone() };
    (Service::on_each_worker(move |()| ProbeActor(parts.clone())), events, free)
}

/// A router that hosts a probe; `probe` is its client of itself.
pub(crate) fn host(probe: &probe::Client) -> (Router, mpsc::UnboundedReceiver<Event>, Arc<Notify>) {
    host_of(probe, Router::builder(LIMITS, Drain::new()))
}

/// The same, with bounds and an interceptor that the test chooses.
pub(crate) fn host_of(
    probe: &probe::Client,
    mut router: RouterBuilder,
) -> (Router, mpsc::UnboundedReceiver<Event>, Arc<Notify>) {
    let (service, events, free) = service(probe);
    router.add(&service, &|name| {
        unreachable!("the probe calls no {name}: its client of itself is given to it")
    });
    (router.build(), events, free)
}
