//! A callee that lets one connection carry few calls: there are as many connections as its calls need.

mod common;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::future::{BoxFuture, pending};
use http::HeaderMap;
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use transport::grpc::{Grpc, Keepalive};
use transport::{Address, Client, Io, Net, Result};

/// How many calls a connection carries at a time.
const STREAMS_MAX: u32 = 10;

/// A server that answers a call when it is let go, and what it has seen.
#[derive(Debug, Clone)]
struct Server {
    door: mpsc::UnboundedSender<DuplexStream>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Connections that were made, and those that are open.
    made: AtomicUsize,
    open: AtomicUsize,
    /// Calls that are under way.
    calls: AtomicUsize,
    let_go: LetGo,
    /// Ends the first connection.
    first_ends: Notify,
    /// Whether connecting comes to no end.
    is_away: AtomicBool,
    /// Whether nobody is let in.
    is_closed: AtomicBool,
    /// Whether connections end as soon as they are made.
    is_fleeting: AtomicBool,
    /// When calls say that their time is over, in the order in which they came.
    deadlines: Mutex<Vec<Instant>>,
}

/// As many calls are let go as it has permits.
#[derive(Debug)]
struct LetGo(Semaphore);

impl Default for LetGo {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Server {
    fn start() -> Self {
        let (door, mut guests) = mpsc::unbounded_channel();
        let seen = Arc::<Seen>::default();
        let server = Self { door, seen: seen.clone() };
        tokio::task::spawn_local(async move {
            while let Some(guest) = guests.recv().await {
                let is_first = seen.made.fetch_add(1, Ordering::Relaxed) == 0;
                seen.open.fetch_add(1, Ordering::Relaxed);
                let seen = seen.clone();
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        ended = serve(guest, &seen) => drop(ended),
                        () = seen.first_ends.notified(), if is_first => {}
                    }
                    seen.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        server
    }

    fn client(&self) -> Client {
        let net = Arc::new(self.clone()) as Arc<dyn Net>;
        let address: Address = "http://callee:1".parse().expect("a valid address");
        Client::new(
            Grpc::new("probe", &[address], &net, Keepalive::default(), LIMITS.message_size),
            SOON,
            LIMITS,
        )
    }

    /// Lets so many calls go.
    fn let_go(&self, calls: usize) {
        self.seen.let_go.0.add_permits(calls);
    }

    fn deadlines(&self) -> Vec<Instant> {
        self.seen.deadlines.lock().expect("nobody panicked").clone()
    }

    fn count(&self, which: impl Fn(&Seen) -> &AtomicUsize) -> usize {
        which(&self.seen).load(Ordering::Relaxed)
    }
}

async fn serve(guest: DuplexStream, seen: &Arc<Seen>) -> Result<(), h2::Error> {
    let mut server = h2::server::Builder::new();
    let mut connection = server.max_concurrent_streams(STREAMS_MAX).handshake::<_, Bytes>(guest).await?;
    if seen.is_fleeting.load(Ordering::Relaxed) {
        connection.graceful_shutdown();
    }
    while let Some(stream) = connection.accept().await {
        let (request, mut respond) = stream?;
        let seen = seen.clone();
        seen.deadlines.lock().expect("nobody panicked").push(deadline(request.headers()));
        seen.calls.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_local(async move {
            seen.let_go.0.acquire().await.expect("it is never closed").forget();
            seen.calls.fetch_sub(1, Ordering::Relaxed);
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut body = respond.send_response(head.body(()).expect("a head"), false)?;
            body.send_data(Bytes::from_static(&[0; 5]), false)?;
            let trailers = HeaderMap::from_iter([(
                "grpc-status".parse().expect("a name"),
                "0".parse().expect("a value"),
            )]);
            body.send_trailers(trailers)
        });
    }
    Ok(())
}

fn deadline(headers: &HeaderMap) -> Instant {
    let left = headers["grpc-timeout"].to_str().expect("text");
    let left = left.strip_suffix('u').expect("microseconds").parse().expect("a number");
    Instant::now() + Duration::from_micros(left)
}

impl Net for Server {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            if self.seen.is_away.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
            sleep(Duration::from_millis(1)).await;
            if self.seen.is_closed.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(64 * 1024);
            self.door.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as Io)
        })
    }
}

/// Begins so many calls, and waits until as many as may be are under way.
async fn begin(client: &Client, count: usize) -> Vec<JoinHandle<Result<()>>> {
    let calls = (0..count).map(|_| {
        let client = client.clone();
        tokio::task::spawn_local(async move { client.call::<Act>(ActRequest::default()).await.map(drop) })
    });
    let calls = calls.collect();
    sleep(Duration::from_millis(100)).await;
    calls
}

#[test]
fn calls_that_one_connection_does_not_carry_open_as_many_as_they_need() {
    run_in_no_time(async {
        for (calls, connections) in [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (95, 10)] {
            let server = Server::start();
            let client = server.client();
            let begun = begin(&client, calls).await;
            assert_eq!(server.count(|seen| &seen.calls), calls, "all are under way");
            assert_eq!(server.count(|seen| &seen.made), connections, "for {calls} calls");
            server.let_go(calls);
            for call in begun {
                call.await.expect("no panic").expect("an answer");
            }
        }
    });
}

#[test]
fn there_are_ten_connections_to_an_endpoint_at_most_and_further_calls_have_their_turn() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let begun = begin(&client, 150).await;
        assert_eq!((server.count(|seen| &seen.made), server.count(|seen| &seen.calls)), (10, 100));
        server.let_go(150);
        for call in begun {
            call.await.expect("no panic").expect("an answer");
        }
    });
}

#[test]
fn who_waits_for_room_is_sent_in_its_turn_with_the_time_that_it_has_left() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let mut due = Vec::new();
        for calls in [100, 10, 20] {
            due.extend(vec![Instant::now() + SOON; calls]);
            begin(&client, calls).await;
        }
        for _ in 0..30 {
            sleep(Duration::from_millis(20)).await;
            server.let_go(1);
        }
        sleep(Duration::from_millis(20)).await;
        let said = server.deadlines();
        assert_eq!(said.len(), due.len());
        for (said, due) in said.into_iter().zip(due) {
            // The way takes a moment.
            assert!(said >= due && said < due + Duration::from_millis(20), "{said:?} and not {due:?}");
        }
    });
}

#[test]
fn who_gives_up_waiting_for_room_leaves_its_turn_to_the_next() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _held = begin(&client, 100).await;
        let gave_up = begin(&client, 50).await;
        let _next = begin(&client, 5).await;
        gave_up.iter().for_each(JoinHandle::abort);
        server.let_go(5);
        sleep(Duration::from_millis(100)).await;
        let said = server.deadlines().len();
        assert_eq!((said, server.count(|seen| &seen.calls)), (105, 100));
    });
}

#[test]
fn a_further_connection_that_cannot_be_made_fails_no_call_and_is_tried_again() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _held = begin(&client, 10).await;
        server.seen.is_closed.store(true, Ordering::Relaxed);
        let waiting = begin(&client, 12).await;
        assert!(waiting.iter().all(|call| !call.is_finished()), "the first connection will have room");
        server.let_go(1);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(server.deadlines().len(), 11);
        server.seen.is_closed.store(false, Ordering::Relaxed);
        // The longest that is waited after one failure.
        sleep(Duration::from_millis(1200)).await;
        assert_eq!((server.count(|seen| &seen.made), server.count(|seen| &seen.calls)), (3, 21));
    });
}

#[test]
fn who_waits_while_another_connection_is_made_has_the_room_that_comes_meanwhile() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _held = begin(&client, 10).await;
        server.seen.is_away.store(true, Ordering::Relaxed);
        let _waiting = begin(&client, 3).await;
        server.let_go(2);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(server.deadlines().len(), 12);
    });
}

#[test]
fn who_waits_for_room_waits_on_while_the_first_connection_cannot_be_made_again() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _held = begin(&client, 20).await;
        server.seen.is_closed.store(true, Ordering::Relaxed);
        server.seen.first_ends.notify_one();
        let waiting = begin(&client, 12).await;
        assert!(waiting.iter().all(|call| !call.is_finished()), "the second connection will have room");
        // The ten that were lost are let go first.
        server.let_go(10 + 3);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(server.deadlines().len(), 23);
        server.seen.is_closed.store(false, Ordering::Relaxed);
        // The longest that is waited after one failure.
        sleep(Duration::from_millis(1200)).await;
        assert_eq!((server.count(|seen| &seen.made), server.deadlines().len()), (3, 32));
    });
}

#[test]
fn a_further_connection_that_is_lost_as_soon_as_it_is_made_is_not_made_again_at_once() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _held = begin(&client, 10).await;
        server.seen.is_fleeting.store(true, Ordering::Relaxed);
        let waiting = begin(&client, 1).await;
        sleep(Duration::from_millis(3400)).await;
        assert!(waiting.iter().all(|call| !call.is_finished()));
        let made = server.count(|seen| &seen.made);
        assert!((4..=10).contains(&made), "{made}: the first, and then two a second at most");
    });
}

#[test]
fn calls_that_wait_for_room_go_elsewhere_when_their_connections_are_lost() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _calls = begin(&client, 103).await;
        server.seen.first_ends.notify_one();
        sleep(Duration::from_millis(100)).await;
        let said = server.deadlines().len();
        assert_eq!((server.count(|seen| &seen.made), said), (11, 103));
    });
}

#[test]
fn further_calls_go_wherever_there_is_room_first() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _calls = begin(&client, 120).await;
        server.let_go(100);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(
            server.count(|seen| &seen.calls),
            20,
            "none waits behind more than its connection carries"
        );
    });
}

#[test]
fn a_connection_that_has_room_is_used_before_another_is_opened() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _first = begin(&client, 11).await;
        // The call that is on the second lasts for longer than a connection stays that has none.
        sleep(Duration::from_millis(2500)).await;
        let _more = begin(&client, 9).await;
        assert_eq!((server.count(|seen| &seen.made), server.count(|seen| &seen.calls)), (2, 20));
    });
}

#[test]
fn a_connection_that_has_room_is_used_while_the_first_cannot_be_made_again() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _calls = begin(&client, 11).await;
        server.seen.is_away.store(true, Ordering::Relaxed);
        server.seen.first_ends.notify_one();
        sleep(Duration::from_millis(100)).await;
        server.let_go(20);
        let call = client.call::<Act>(ActRequest::default());
        timeout(Duration::from_millis(100), call).await.expect("it waits for none").expect("an answer");
    });
}

#[test]
fn a_connection_without_calls_closes_beside_one_that_has_some() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let _calls = begin(&client, 20).await;
        let short = client.call::<Act>(ActRequest::default());
        timeout(Duration::from_millis(100), short).await.expect_err("nobody lets it go");
        assert_eq!(server.count(|seen| &seen.open), 3);
        sleep(Duration::from_millis(2100)).await;
        assert_eq!(server.count(|seen| &seen.open), 2);
    });
}

#[test]
fn a_connection_beyond_the_first_closes_when_it_has_no_call() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let begun = begin(&client, 35).await;
        assert_eq!(server.count(|seen| &seen.open), 4);
        server.let_go(35);
        for call in begun {
            call.await.expect("no panic").expect("an answer");
        }
        sleep(Duration::from_millis(950)).await;
        assert_eq!(server.count(|seen| &seen.open), 4, "they had calls less than a second ago");
        sleep(Duration::from_millis(1150)).await;
        assert_eq!(server.count(|seen| &seen.open), 1);
        server.let_go(1);
        begin(&client, 1).await;
        assert_eq!(server.count(|seen| &seen.made), 4, "the first is still there");
    });
}
