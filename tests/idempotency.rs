//! A call with an idempotency key is handled once, however often it is made, whatever carries it.

mod common;
mod process;

use std::sync::Arc;
use std::time::Duration;

use common::counter::CounterActor;
use common::{LIMITS, SOON, grpc_over_memory, run, run_in_no_time};
use probe_contract::counter::{self, Add, AddLater};
use probe_contract::{AddRequest, Total};
use process::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{sleep, timeout};
use transport::gauges::Gauge;
use transport::memory::Memory;
use transport::{
    Answers, CallerAddress, Client, Code, Drain, Gauges, KeyBounds, Method, Result, Router, Service,
    ServiceClient as _, Status, rest,
};

/// A counter, and a client that reaches it over one carrier.
struct World {
    client: counter::Client,
    router: Router,
    go_on: Arc<Notify>,
    gauges: Gauges,
    drain: Drain,
}

const CARRIERS: [&str; 2] = ["memory", "grpc"];

impl World {
    async fn new(carrier: &str, bounds: KeyBounds) -> Self {
        let (go_on, gauges, drain) = (Arc::new(Notify::new()), Gauges::new(), Drain::new());
        let answers = Answers::new(bounds);
        answers.watch(&gauges);
        let service = counter(&go_on);
        let (router, memory) = hosting(&service, &answers, &gauges, &drain);
        let client = match carrier {
            "memory" => Client::new(memory, SOON, LIMITS),
            _ => grpc_over_memory(router.clone()),
        };
        Self { client: counter::Client::new(client), router, go_on, gauges, drain }
    }

    async fn add(&self, key: &str, amount: i64) -> Result<Total> {
        exchange::<Add>(self.client.clone(), key, amount).await
    }

    /// Begins a call that is answered when the counter is told to go on.
    fn add_later(&self, key: &'static str, amount: i64) -> JoinHandle<Result<Total>> {
        spawn_local(exchange::<AddLater>(self.client.clone(), key, amount))
    }

    /// What there is of a gauge.
    fn count(&self, gauge: Gauge, of: &str, what: &str) -> usize {
        self.gauges.read().count(gauge, of, what)
    }

    /// Waits until so many handlers run.
    async fn running(&self, handlers: usize) {
        self.until(|| self.count(Gauge::HandlersRunning, "counter", "") == handlers).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let held = async {
            while !holds() {
                yield_now().await;
            }
        };
        timeout(SOON, held).await.expect("it comes about");
    }

    /// The total, by a call that adds nothing.
    async fn total(&self) -> i64 {
        let nothing = AddRequest { key: String::new(), amount: 0 };
        self.client.add(nothing).await.expect("the counter answers").total
    }
}

fn counter(go_on: &Arc<Notify>) -> Service {
    let go_on = go_on.clone();
    Service::in_node(move |()| CounterActor::new(go_on.clone()))
}

/// A worker that hosts `service`.
fn hosting(service: &Service, answers: &Answers, gauges: &Gauges, drain: &Drain) -> (Router, Memory) {
    let memory = Memory::new();
    let mut router = Router::builder(LIMITS, drain.clone());
    router.watch(gauges);
    router.remember(answers);
    router.add(service, &|name| unreachable!("the counter calls no {name}"));
    let router = router.build();
    memory.lead_to(&router);
    (router, memory)
}

async fn exchange<M>(client: counter::Client, key: &str, amount: i64) -> Result<Total>
where
    M: Method<Request = AddRequest, Response = Total>,
{
    let mut request = tonic::Request::new(AddRequest { key: "a".to_owned(), amount });
    request.metadata_mut().insert("idempotency-key", key.parse().expect("a value"));
    client.inner().exchange::<M>(request).await.map(tonic::Response::into_inner)
}

/// Runs `claim` in a world for each carrier.
fn on_every_carrier(claim: impl AsyncFn(&World)) {
    for carrier in CARRIERS {
        println!("over {carrier}:");
        run(async { claim(&World::new(carrier, KeyBounds::default()).await).await });
    }
}

/// Runs `claim` in memory, in a time of its own.
fn in_no_time(bounds: KeyBounds, claim: impl AsyncFn(&World)) {
    run_in_no_time(async { claim(&World::new("memory", bounds).await).await });
}

fn code(answer: Result<Total, Status>) -> Code {
    answer.expect_err("it is refused").code()
}

#[test]
fn a_repeated_call_has_the_answer_of_the_first_and_is_not_handled_again() {
    on_every_carrier(async |world| {
        let first = world.add("k", 3).await.expect("an answer");
        world.add("other", 4).await.expect("another key is another call");
        assert_eq!(world.add("k", 3).await.expect("an answer"), first);
        assert_eq!(world.add("\"k\"", 3).await.expect("quoted it is the same"), first);
        assert_eq!(world.total().await, 7);
    });
}

#[test]
fn two_calls_that_come_at_the_same_moment_are_handled_once() {
    on_every_carrier(async |world| {
        let calls = [world.add_later("k", 3), world.add_later("k", 3), world.add_later("k", 3)];
        world.until(|| world.count(Gauge::PermitsTaken, "counter", "calls") == 3).await;
        world.running(1).await;
        world.go_on.notify_one();
        for call in calls {
            assert_eq!(call.await.expect("no panic").expect("an answer").total, 3);
        }
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn a_handler_whose_caller_has_gone_is_not_cut_off_and_the_next_call_has_its_answer() {
    on_every_carrier(async |world| {
        let first = world.add_later("k", 3);
        world.running(1).await;
        first.abort();
        first.await.expect_err("it was given up");
        world.until(|| world.count(Gauge::CallsInFlight, "grpc", "") == 0).await;
        assert_eq!(world.count(Gauge::PermitsTaken, "counter", "calls"), 1, "it holds its permit");
        let again = world.add_later("k", 3);
        world.go_on.notify_one();
        assert_eq!(again.await.expect("no panic").expect("an answer").total, 3);
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn a_call_without_a_key_is_cut_off_with_its_caller() {
    on_every_carrier(async |world| {
        let nothing = AddRequest { key: "a".to_owned(), amount: 3 };
        let client = world.client.clone();
        let call = spawn_local(async move { client.add_later(nothing).await });
        world.running(1).await;
        call.abort();
        world.running(0).await;
        assert_eq!(world.total().await, 0);
    });
}

#[test]
fn another_call_under_the_same_key_is_refused() {
    on_every_carrier(async |world| {
        let first = world.add_later("k", 3);
        world.running(1).await;
        assert_eq!(code(world.add("k", 3).await), Code::FailedPrecondition, "another method");
        world.go_on.notify_one();
        first.await.expect("no panic").expect("an answer");
        assert_eq!(code(exchange::<AddLater>(world.client.clone(), "k", 4).await), Code::FailedPrecondition);
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn what_is_no_key_is_refused() {
    on_every_carrier(async |world| {
        assert_eq!(code(world.add("two words", 3).await), Code::InvalidArgument);
        assert_eq!(world.total().await, 0);
    });
}

#[test]
fn a_failure_of_the_handler_is_remembered_like_an_answer() {
    on_every_carrier(async |world| {
        let first = world.add("k", -1).await.expect_err("the counter dies over it");
        world.add("other", 5).await.expect("it is made anew");
        let again = world.add("k", -1).await.expect_err("it has failed");
        assert_eq!((again.code(), again.message()), (first.code(), first.message()));
        assert_eq!(world.total().await, 5, "it did not die again");
    });
}

#[test]
fn a_call_that_was_not_taken_on_may_be_made_again_under_its_key() {
    on_every_carrier(async |world| {
        let others: Vec<_> = ["a", "b", "c", "d"].map(|key| world.add_later(key, 1)).into();
        world.running(LIMITS.calls).await;
        assert_eq!(code(world.add("k", 10).await), Code::ResourceExhausted);
        world.go_on.notify_waiters();
        for other in others {
            other.await.expect("no panic").expect("an answer");
        }
        assert_eq!(world.add("k", 10).await.expect("there is room now").total, 14);
    });
}

#[test]
fn the_handler_of_a_key_ends_by_its_own_deadline_and_has_run() {
    in_no_time(KeyBounds::default(), async |world| {
        let mut request = tonic::Request::new(AddRequest { key: "a".to_owned(), amount: 3 });
        request.metadata_mut().insert("idempotency-key", "k".parse().expect("a value"));
        request.set_timeout(Duration::from_millis(50));
        let late = world.client.inner().exchange::<AddLater>(request).await.expect_err("nobody goes on");
        assert_eq!(late.code(), Code::DeadlineExceeded);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.count(Gauge::HandlersRunning, "counter", ""), 0);
        let again = exchange::<AddLater>(world.client.clone(), "k", 3).await;
        assert_eq!(code(again), Code::DeadlineExceeded, "nobody knows how far it came");
    });
}

#[test]
fn who_waits_for_the_answer_of_another_call_waits_until_the_own_deadline() {
    in_no_time(KeyBounds::default(), async |world| {
        let first = world.add_later("k", 3);
        world.running(1).await;
        let mut request = tonic::Request::new(AddRequest { key: "a".to_owned(), amount: 3 });
        request.metadata_mut().insert("idempotency-key", "k".parse().expect("a value"));
        request.set_timeout(Duration::from_millis(50));
        let late = world.client.inner().exchange::<AddLater>(request).await.expect_err("it is not answered");
        assert_eq!(late.code(), Code::DeadlineExceeded);
        world.go_on.notify_one();
        assert_eq!(first.await.expect("no panic").expect("an answer").total, 3);
    });
}

#[test]
fn an_answer_is_forgotten_when_its_time_is_over_also_if_nobody_asks() {
    let bounds = KeyBounds { kept_for: Duration::from_secs(60), ..KeyBounds::default() };
    in_no_time(bounds, async |world| {
        world.add("k", 3).await.expect("an answer");
        sleep(Duration::from_secs(59)).await;
        assert_eq!(world.add("k", 3).await.expect("an answer").total, 3);
        assert_eq!(world.count(Gauge::IdempotencyKeys, "answered", ""), 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(world.count(Gauge::IdempotencyKeys, "answered", ""), 0);
        assert_eq!(world.count(Gauge::IdempotencyBytes, "", ""), 0);
        assert_eq!(world.add("k", 3).await.expect("it is handled again").total, 6);
    });
}

#[test]
fn no_key_is_forgotten_before_its_time_to_make_room_for_another() {
    let bounds = KeyBounds { keys: 2, kept_for: Duration::from_secs(60), ..KeyBounds::default() };
    in_no_time(bounds, async |world| {
        for key in ["a", "b"] {
            world.add(key, 1).await.expect("there is room");
        }
        assert_eq!(code(world.add("c", 1).await), Code::ResourceExhausted);
        assert_eq!(world.add("a", 1).await.expect("it is remembered").total, 1);
        sleep(Duration::from_secs(61)).await;
        assert_eq!(world.add("c", 1).await.expect("there is room again").total, 3);
    });
}

#[test]
fn an_answer_that_there_is_no_room_for_is_not_made_again() {
    // The entry of the key, and its request of five bytes: nothing for the answer.
    let bounds = KeyBounds { bytes: 256 + 1 + 5, ..KeyBounds::default() };
    in_no_time(bounds, async |world| {
        assert_eq!(world.add("k", 3).await.expect("an answer").total, 3);
        assert_eq!(code(world.add("k", 3).await), Code::AlreadyExists);
        assert_eq!(code(world.add("other", 3).await), Code::ResourceExhausted);
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn a_drain_waits_for_a_handler_whose_caller_has_gone() {
    in_no_time(KeyBounds::default(), async |world| {
        let first = world.add_later("k", 3);
        world.running(1).await;
        first.abort();
        world.drain.start();
        assert!(timeout(SOON / 2, world.drain.finished()).await.is_err(), "there is a handler");
        world.go_on.notify_one();
        timeout(SOON, world.drain.finished()).await.expect("it has ended");
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn the_workers_of_a_node_remember_the_same() {
    run(async {
        let (gauges, drain) = (Gauges::new(), Drain::new());
        let (service, answers) = (counter(&Arc::default()), Answers::new(KeyBounds::default()));
        let workers = [(); 2].map(|()| hosting(&service, &answers, &gauges, &drain));
        for (_, memory) in &workers {
            let client = counter::Client::new(Client::new(memory.clone(), SOON, LIMITS));
            assert_eq!(exchange::<Add>(client, "k", 3).await.expect("an answer").total, 3);
        }
    });
}

/// What the counter answers over REST.
async fn posted(world: &World, key: &str, amount: i64) -> (u16, String) {
    let options = rest::Options { deadline: SOON, headers: Vec::new(), attempts_header: None };
    let drain = Drain::new();
    let server = rest::Server::new(world.router.clone(), options, drain.clone()).await;
    let (mut near, far) = duplex(64 * 1024);
    let open = drain.work();
    spawn_local(async move {
        server.serve_connection(Box::new(far), CallerAddress::Unix, open).await;
    });
    let body = format!("{{\"amount\":\"{amount}\"}}");
    let request = format!(
        "POST /counters/a HTTP/1.1\r\nhost: counter\r\nidempotency-key: {key}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    near.write_all(request.as_bytes()).await.expect("the edge reads");
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.expect("the edge answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

#[test]
fn over_rest_the_key_is_a_header_that_needs_no_leave() {
    run(async {
        let world = World::new("memory", KeyBounds::default()).await;
        let first = posted(&world, "\"8e03978e\"", 3).await;
        assert_eq!(first, (200, r#"{"total":"3","before":"0"}"#.to_owned()));
        assert_eq!(posted(&world, "8e03978e", 3).await, first, "unquoted it is the same");
        assert_eq!(world.add("8e03978e", 3).await.expect("an answer").total, 3, "over gRPC, too");
        let (status, problem) = posted(&world, "8e03978e", 4).await;
        assert_eq!(status, 400);
        assert!(problem.contains(r#""code":"FAILED_PRECONDITION""#), "{problem}");
        let (status, problem) = posted(&world, "two words", 3).await;
        assert_eq!(status, 400);
        assert!(problem.contains(r#""code":"INVALID_ARGUMENT""#), "{problem}");
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn a_call_without_side_effects_needs_no_key_and_is_made_again() {
    let node = Node::start(&["--services", "service1"]);
    for (name, answer) in [("a", r#"{"name":"A"}"#), ("b", r#"{"name":"B"}"#)] {
        let got = node.http().get(&format!("/api/v1/name?name={name}"), "idempotency-key: k\r\n");
        assert_eq!((got.status, got.body.as_str()), (200, answer));
    }
}

#[test]
fn what_a_router_is_not_told_to_share_it_remembers_itself() {
    run_in_no_time(async {
        let (_router, client) = common::counter::worker(&counter(&Arc::default()), LIMITS, &Drain::new());
        for _ in 0..2 {
            assert_eq!(exchange::<Add>(client.clone(), "k", 3).await.expect("an answer").total, 3);
        }
    });
}
