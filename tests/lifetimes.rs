//! What lasts longer than a call with one answer: streams, and work that outlives its call.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::counter::{AFTERWARDS, in_the_node, worker, worker_with};
use common::{LIMITS, SOON, host, on_every_carrier, run_in_no_time};
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt as _, StreamExt as _};
use probe_contract::{ActRequest, AddRequest, CountRequest, Deed, SumResponse, probe};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::MetadataMap;
use tower::service_fn;
use transport::call::{Held, Interceptor};
use transport::channel::{Request, Response};
use transport::gauges::Gauge;
use transport::memory::Memory;
use transport::payload::{Message, Payload};
use transport::router::RouterBuilder;
use transport::{
    CallContext, Client, Code, Drain, Gauges, Limits, Result, Service, ServiceClient as _, Status, Streaming,
};

fn one() -> AddRequest {
    AddRequest { key: String::new(), amount: 1 }
}

fn told(deed: Deed) -> ActRequest {
    ActRequest { deed: deed.into(), ..Default::default() }
}

/// Takes on no call that is not a stream.
struct StreamsOnly;

impl Interceptor for StreamsOnly {
    fn admit<'a>(
        &'a self,
        _: &'a CallContext,
        path: &'static str,
        is_streaming: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Held>>> {
        let refused = Err(Status::permission_denied(path));
        Box::pin(ready(if is_streaming { Ok(Box::new(Self) as Box<dyn Held>) } else { refused }))
    }
}

impl Held for StreamsOnly {}

/// One counter, and word for its work to go on.
fn counter() -> (Service, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    (in_the_node(&go_on), go_on)
}

#[test]
fn work_outlives_its_call_and_a_drain_waits_for_it() {
    run_in_no_time(async {
        let (service, go_on) = counter();
        let drain = Drain::new();
        let (_router, client) = worker(&service, LIMITS, &drain);
        assert_eq!(client.add_afterwards(one()).await.expect("an answer").total, 0);
        drain.start();
        assert!(timeout(AFTERWARDS / 2, drain.finished()).await.is_err(), "the drain did not wait");
        go_on.notify_one();
        timeout(AFTERWARDS / 4, drain.finished()).await.expect("nothing is left");
        assert_eq!(client.add(AddRequest { amount: 0, ..one() }).await.expect("an answer").total, 1);
    });
}

#[test]
fn work_that_outlives_its_call_ends_by_its_own_deadline() {
    run_in_no_time(async {
        let (service, _never) = counter();
        let drain = Drain::new();
        let (_router, client) = worker(&service, LIMITS, &drain);
        let started = Instant::now();
        client.add_afterwards(one()).await.expect("an answer");
        drain.finished().await;
        let took = started.elapsed();
        assert!(took >= AFTERWARDS && took < AFTERWARDS + Duration::from_millis(10), "{took:?}");
    });
}

#[test]
fn work_that_outlives_its_call_is_bounded() {
    run_in_no_time(async {
        let (service, _never) = counter();
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        for _ in 0..LIMITS.calls {
            client.add_afterwards(one()).await.expect("an answer");
        }
        let refused = client.add_afterwards(one()).await.expect_err("it is enough");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.message(), "counter has as many background tasks as it takes on");
    });
}

#[test]
fn a_stream_may_end_when_the_node_drains() {
    run_in_no_time(async {
        let (service, _) = counter();
        let drain = Drain::new();
        let (_router, client) = worker(&service, LIMITS, &drain);
        let mut totals = client.watch(one()).await.expect("a stream");
        assert_eq!(totals.next().await.expect("an item").expect("a total").total, 0);
        assert!(timeout(SOON, totals.next()).await.is_err(), "it ended too soon");
        drain.start();
        assert!(totals.next().await.is_none(), "it ends in good order");
    });
}

#[test]
fn a_stream_is_not_ended_by_the_deadline_of_other_calls() {
    run_in_no_time(async {
        let (service, _) = counter();
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        let mut totals = client.watch(one()).await.expect("a stream");
        totals.next().await.expect("an item").expect("a total");
        assert!(timeout(SOON * 1000, totals.next()).await.is_err(), "it ended");
    });
}

#[test]
fn streams_are_bounded_apart_from_other_calls() {
    run_in_no_time(async {
        let (service, _) = counter();
        let limits = Limits { streams: 2, ..LIMITS };
        let (_router, client) = worker(&service, limits, &Drain::new());
        let first = client.watch(one()).await.expect("a stream");
        let _second = client.watch(one()).await.expect("a stream");
        let refused = client.watch(one()).await.expect_err("it is enough");
        assert_eq!(refused.message(), "counter has as many streams as it takes on");
        client.add(one()).await.expect("there is room for other calls");
        drop(first);
        sleep(Duration::from_millis(1)).await;
        client.watch(one()).await.expect("there is room again");
    });
}

#[test]
fn a_stream_that_has_ended_is_not_counted_though_its_caller_keeps_it() {
    on_every_carrier(async |world| {
        let mut kept = Vec::new();
        for _ in 0..LIMITS.streams + 1 {
            let count = CountRequest { messages: 2, then: 0 };
            let mut answer = world.probe.count(count).await.expect("there is room");
            while answer.next().await.is_some() {}
            kept.push(answer);
        }
        assert!(kept.iter_mut().all(|answer| matches!(answer.next().now_or_never(), Some(None))));
        world.probe.act(told(Deed::Answer)).await.expect("an answer");
    });
}

#[test]
fn a_stream_of_which_every_message_was_read_is_not_counted_though_nobody_asks_for_its_end() {
    on_every_carrier(async |world| {
        let mut kept = Vec::new();
        for _ in 0..LIMITS.streams + 1 {
            let count = CountRequest { messages: 2, then: 0 };
            let mut answer = world.probe.count(count).await.expect("there is room");
            for number in [1, 2] {
                assert_eq!(answer.next().await.expect("an item").expect("a number").number, number);
            }
            kept.push(answer);
        }
        assert!(kept.iter_mut().all(|answer| matches!(answer.next().now_or_never(), Some(None))));
    });
}

#[test]
fn a_stream_that_does_not_begin_costs_the_deadline_and_no_more() {
    run_in_no_time(async {
        let memory = Memory::new();
        let probe = probe::Client::new(Client::new(memory.clone(), SOON, LIMITS));
        let (router, mut events, _free) = host(&probe);
        memory.lead_to(&router);
        let busy = probe.clone();
        tokio::task::spawn_local(async move { busy.act(told(Deed::Occupy)).await });
        assert_eq!(events.recv().await, Some(common::Event::Started));
        let late = timeout(SOON * 2, probe.count(CountRequest::default())).await.expect("it ends");
        assert_eq!(late.expect_err("the actor is busy").code(), Code::DeadlineExceeded);
    });
}

#[test]
fn a_call_that_streams_its_request_is_not_ended_by_the_deadline_of_other_calls() {
    run_in_no_time(async {
        let carrier = service_fn(|_: Request| async {
            sleep(SOON * 2).await;
            let message = Message::of(SumResponse { sum: 7 });
            Ok::<_, Status>(Response { metadata: MetadataMap::new(), body: Payload::One(message) })
        });
        let client = probe::Client::new(Client::new(carrier, SOON, LIMITS));
        let sum = client.sum(Streaming::of([])).await.expect("who sends for so long gets an answer after it");
        assert_eq!(sum.sum, 7);
    });
}

#[test]
fn a_handler_is_counted_from_its_beginning_to_its_end() {
    run_in_no_time(async {
        let (service, go_on) = counter();
        let gauges = Gauges::new();
        let (_router, client) = worker_with(&service, LIMITS, &Drain::new(), |router| router.watch(&gauges));
        let running = || gauges.read().count(Gauge::HandlersRunning, "counter", "");
        assert_eq!(running(), 0);
        let call = tokio::task::spawn_local(async move { client.add_later(one()).await });
        sleep(Duration::from_millis(1)).await;
        assert_eq!(running(), 1);
        go_on.notify_one();
        call.await.expect("no panic").expect("an answer");
        assert_eq!(running(), 0);
    });
}

#[test]
fn a_call_that_its_interceptor_does_not_let_in_is_not_handled() {
    run_in_no_time(async {
        let (service, _) = counter();
        let intercept = |router: &mut RouterBuilder| router.intercept(Arc::new(StreamsOnly));
        let (_router, client) = worker_with(&service, LIMITS, &Drain::new(), intercept);
        let refused = client.add(one()).await.expect_err("it is no stream");
        assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "/rehearsal.Counter/Add"));
        let mut totals = client.watch(one()).await.expect("a stream is let in");
        assert_eq!(totals.next().await.expect("an item").expect("a total").total, 0);
    });
}
