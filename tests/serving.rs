//! A callee that says whether it serves, to callers that ask (gRFC A17): it gets calls while it says so, and no others.

mod common;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::request::act_request;
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::future::BoxFuture;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use transport::channel::Request;
use transport::gauges::Gauge;
use transport::grpc::{Grpc, Keepalive};
use transport::status::{self, NotSent};
use transport::{Address, Client, Code, Gauges, Io, Net, Status};

const MS: Duration = Duration::from_millis(1);

/// What a callee does with those who ask whether it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Serving,
    NotServing,
    /// It takes the question, and says nothing.
    Nothing,
    /// It says that it serves, and ends the stream.
    ServingOnce,
    /// It ends the stream with this status.
    Fails(Code),
    HangsUp,
}

/// A server of bare frames, and what it has seen.
struct Callee {
    address: Address,
    says: Cell<Says>,
    news: Notify,
    calls: Cell<usize>,
    /// When it was asked whether it serves.
    asked: RefCell<Vec<Instant>>,
    /// Streams on which it tells whether it serves that have not ended.
    told: Cell<usize>,
    door: mpsc::UnboundedSender<DuplexStream>,
    made: Cell<usize>,
}

impl Callee {
    fn start(number: usize, says: Says, streams_max: u32) -> Rc<Self> {
        let (door, mut guests) = mpsc::unbounded_channel();
        let address = format!("http://10.0.0.{number}:50051").parse().expect("a valid address");
        let (news, calls, asked, told, made) = Default::default();
        let callee = Rc::new(Self { address, says: Cell::new(says), news, calls, asked, told, door, made });
        let server = callee.clone();
        tokio::task::spawn_local(async move {
            while let Some(guest) = guests.recv().await {
                server.made.set(server.made.get() + 1);
                let server = server.clone();
                tokio::task::spawn_local(async move { server.serve(guest, streams_max).await.ok() });
            }
        });
        callee
    }

    fn is(&self, says: Says) {
        self.says.set(says);
        self.news.notify_waiters();
    }

    /// How many calls came to it since this was asked last.
    fn calls(&self) -> usize {
        self.calls.take()
    }

    async fn serve(self: Rc<Self>, guest: DuplexStream, streams_max: u32) -> Result<(), h2::Error> {
        let mut server = h2::server::Builder::new();
        let mut connection = server.max_concurrent_streams(streams_max).handshake::<_, Bytes>(guest).await?;
        while let Some(stream) = connection.accept().await {
            let (request, respond) = stream?;
            if request.uri().path() != "/grpc.health.v1.Health/Watch" {
                self.calls.set(self.calls.get() + 1);
                tokio::task::spawn_local(async move { answer(respond).await.ok() });
                continue;
            }
            self.asked.borrow_mut().push(Instant::now());
            if self.says.get() == Says::HangsUp {
                return Ok(());
            }
            let server = self.clone();
            tokio::task::spawn_local(async move {
                server.told.set(server.told.get() + 1);
                server.tell(request.into_body(), respond).await.ok();
                server.told.set(server.told.get() - 1);
            });
        }
        Ok(())
    }

    /// Tells whether it serves, and again whenever that changes.
    async fn tell(
        &self,
        mut asked: h2::RecvStream,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let asked = asked.data().await.expect("a message")?;
        assert_eq!(&asked[5..], b"\x0a\x0frehearsal.Probe", "field 1, the full name");
        if let Says::Fails(code) = self.says.get() {
            let mut head = head();
            head.headers_mut().insert("grpc-status", HeaderValue::from(code as i32));
            // Whoever reads this must not stumble.
            head.headers_mut().insert("grpc-status-details-bin", HeaderValue::from_static("%%%"));
            return respond.send_response(head, true).map(drop);
        }
        let mut body = respond.send_response(head(), false)?;
        loop {
            let news = self.news.notified();
            match self.says.get() {
                Says::Serving | Says::ServingOnce => body.send_data(word(1), false)?,
                Says::NotServing => body.send_data(word(2), false)?,
                Says::Nothing => {}
                Says::Fails(code) => return body.send_trailers(status(code)),
                Says::HangsUp => {
                    body.send_reset(h2::Reason::INTERNAL_ERROR);
                    return Ok(());
                }
            }
            if self.says.get() == Says::ServingOnce {
                return body.send_trailers(status(Code::Ok));
            }
            tokio::select! {
                () = news => {}
                reset = std::future::poll_fn(|cx| body.poll_reset(cx)) => return reset.map(drop),
            }
        }
    }
}

fn head() -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.body(()).expect("a head")
}

fn status(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    trailers
}

/// A `HealthCheckResponse` with this status.
fn word(status: u8) -> Bytes {
    Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status])
}

async fn answer(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    sleep(MS).await;
    let mut body = respond.send_response(head(), false)?;
    body.send_data(Bytes::from_static(&[0; 5]), false)?;
    body.send_trailers(status(Code::Ok))
}

/// The ways to all callees.
#[derive(Debug)]
struct Ways(Vec<(Address, mpsc::UnboundedSender<DuplexStream>)>);

impl Net for Ways {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            sleep(MS).await;
            let way = self.0.iter().find(|(known, _)| known == address);
            let (near, far) = duplex(64 * 1024);
            way.expect("a callee").1.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as Io)
        })
    }
}

/// A carrier to these callees that asks each whether it serves, and what it holds.
fn carrier(callees: &[&Rc<Callee>]) -> (Grpc, Gauges) {
    let ways = callees.iter().map(|callee| (callee.address.clone(), callee.door.clone())).collect();
    let (net, gauges) = (Arc::new(Ways(ways)) as Arc<dyn Net>, Gauges::new());
    let addresses: Vec<_> = callees.iter().map(|callee| callee.address.clone()).collect();
    let (keepalive, size, health) = (Keepalive::default(), LIMITS.message_size, Some("rehearsal.Probe"));
    let carrier = Grpc::with_health_check("probe", &addresses, &net, keepalive, size, health);
    carrier.watch(&gauges);
    (carrier, gauges)
}

fn client(callees: &[&Rc<Callee>]) -> (Client, Gauges) {
    let (carrier, gauges) = carrier(callees);
    (Client::new(carrier, SOON * 12, LIMITS), gauges)
}

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

async fn calls(client: &Client, count: usize) {
    for _ in 0..count {
        act(client).await.expect("somebody serves");
    }
}

/// A call that waits where nobody serves.
fn waiting() -> Request {
    Request { wait_for_ready: true, ..act_request() }
}

#[test]
fn who_says_that_it_does_not_serve_gets_no_calls_until_it_says_that_it_does() {
    run_in_no_time(async {
        let (sick, sound) = (Callee::start(1, Says::NotServing, 100), Callee::start(2, Says::Serving, 100));
        let (client, gauges) = client(&[&sick, &sound]);
        calls(&client, 20).await;
        assert_eq!((sick.calls(), sound.calls()), (0, 20));
        let stand = |state| gauges.read().count(Gauge::CalleeAddresses, "probe", state);
        assert_eq!((stand("not serving"), stand("ready")), (1, 1));
        sick.is(Says::Serving);
        sleep(MS).await;
        calls(&client, 20).await;
        assert!(sick.calls() > 5 && sound.calls() > 5, "both share the calls");
        sound.is(Says::NotServing);
        sleep(MS).await;
        calls(&client, 20).await;
        assert_eq!((sick.calls(), sound.calls()), (20, 0));
        assert_eq!((sick.made.get(), sound.made.get()), (1, 1), "their connections stay");
    });
}

#[test]
fn where_nobody_serves_a_call_fails_at_once_with_the_proof_that_it_was_not_sent() {
    run_in_no_time(async {
        let sick = [Callee::start(1, Says::NotServing, 100), Callee::start(2, Says::NotServing, 100)];
        let (client, _) = client(&[&sick[0], &sick[1]]);
        for _ in 0..3 {
            let begun = Instant::now();
            let error = act(&client).await.expect_err("nobody serves");
            assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
            assert_eq!((error.code(), error.message()), (Code::Unavailable, "probe does not serve"));
            assert!(begun.elapsed() <= MS * 2, "{:?}", begun.elapsed());
        }
        assert_eq!(sick.map(|sick| sick.made.get()), [1, 1]);
    });
}

#[test]
fn a_call_that_waits_goes_as_soon_as_somebody_serves() {
    run_in_no_time(async {
        let sick = Callee::start(1, Says::NotServing, 100);
        let (mut carrier, gauges) = carrier(&[&sick]);
        let call = tokio::task::spawn_local(tower::Service::call(&mut carrier, waiting()));
        sleep(SOON).await;
        assert!(!call.is_finished() && gauges.read().sum(Gauge::CalleeCallsWaiting) == 1);
        sick.is(Says::Serving);
        let begun = Instant::now();
        let answer = timeout(SOON, call).await.expect("it is told").expect("no panic");
        answer.expect("it serves");
        assert!(begun.elapsed() <= MS * 2, "it is told, and does not look now and then");
    });
}

#[test]
fn who_does_not_know_of_health_is_taken_to_serve_and_asked_once() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::Fails(Code::Unimplemented), 100);
        let (client, _) = client(&[&callee]);
        calls(&client, 20).await;
        sleep(SOON * 60).await;
        calls(&client, 20).await;
        assert_eq!((callee.calls(), callee.asked.borrow().len()), (40, 1));
    });
}

#[test]
fn who_never_says_whether_it_serves_costs_the_time_of_a_greeting_and_is_asked_again_less_and_less_often() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::Nothing, 100);
        let (client, _) = client(&[&callee]);
        let begun = Instant::now();
        let error = act(&client).await.expect_err("it is not known to serve");
        assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
        let (took, greeting) = (begun.elapsed(), Keepalive::default().greeting);
        assert!((greeting..greeting + MS * 10).contains(&took), "{took:?}");
        assert!(act(&client).await.is_err() && begun.elapsed() < took + MS, "the next one fails at once");
        sleep(Duration::from_secs(3600)).await;
        let asked = callee.asked.borrow().len();
        assert!((20..60).contains(&asked), "{asked} times in an hour: two minutes apart in the end");
        assert!(callee.made.get() == 1 && callee.told.get() <= 1, "what was given up has ended");
        callee.is(Says::Serving);
        sleep(Duration::from_secs(150)).await;
        calls(&client, 1).await;
    });
}

#[test]
fn who_stops_saying_so_is_taken_not_to_serve_and_asked_again_as_backoff_has_it() {
    for says in [Says::Fails(Code::Internal), Says::HangsUp, Says::ServingOnce] {
        run_in_no_time(async {
            let callee = Callee::start(1, Says::Serving, 100);
            let (client, _) = client(&[&callee]);
            calls(&client, 1).await;
            // Not the connection, but the stream is broken off.
            callee.is(says);
            sleep(MS).await;
            act(&client).await.expect_err("it is not known to serve");
            sleep(Duration::from_secs(600)).await;
            let asked = callee.asked.borrow().len();
            assert!(asked < 20, "{says:?}: {asked} times in ten minutes");
            callee.is(Says::Serving);
            sleep(Duration::from_secs(150)).await;
            calls(&client, 1).await;
        });
    }
}

#[test]
fn who_hangs_up_in_place_of_saying_whether_it_serves_is_left_alone_as_who_cannot_be_connected_to() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::HangsUp, 100);
        let (client, gauges) = client(&[&callee]);
        for _ in 0..20 {
            act(&client).await.expect_err("it hangs up");
        }
        assert_eq!(callee.made.get(), 1);
        assert_eq!(gauges.read().count(Gauge::CalleeAddresses, "probe", "backoff"), 1);
    });
}

#[test]
fn asking_counts_as_no_call_and_ends_with_its_carrier() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::Serving, 100);
        let (client, gauges) = client(&[&callee]);
        calls(&client, 5).await;
        sleep(SOON).await;
        let count = |gauge| gauges.read().sum(gauge);
        assert_eq!([Gauge::CalleeCallsInFlight, Gauge::CalleeCallsWaiting].map(count), [0, 0]);
        assert_eq!((count(Gauge::CalleeConnectionsOpen), callee.told.get()), (1, 1));
        drop(client);
        sleep(MS).await;
        assert_eq!(callee.told.get(), 0, "the stream has ended");
    });
}

#[test]
fn a_connection_that_carries_one_stream_is_left_to_calls() {
    run_in_no_time(async {
        for (streams_max, asked) in [(1, 0), (2, 1)] {
            let callee = Callee::start(1, Says::Serving, streams_max);
            let (client, _) = client(&[&callee]);
            calls(&client, 5).await;
            assert_eq!((callee.calls(), callee.asked.borrow().len()), (5, asked));
        }
    });
}
