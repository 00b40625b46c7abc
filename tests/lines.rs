//! A callee that lets one connection carry few calls: there are as many connections as its calls need.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::future::BoxFuture;
use http::HeaderMap;
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use transport::grpc::{Grpc, Keepalive};
use transport::{Address, Client, Io, Net};

/// How many calls a connection carries at a time.
const STREAMS_MAX: u32 = 10;

/// A server that answers a call when it is let go, and what it has seen.
#[derive(Debug, Clone)]
struct Server {
    door: mpsc::UnboundedSender<DuplexStream>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Connections that were made, and those that are open.
    made: AtomicUsize,
    open: AtomicUsize,
    /// Calls that are under way.
    calls: AtomicUsize,
    let_go: Semaphore,
}

impl Server {
    fn start() -> Self {
        let (door, mut guests) = mpsc::unbounded_channel();
        let (made, open, calls) = Default::default();
        let seen = Arc::new(Seen { made, open, calls, let_go: Semaphore::new(0) });
        let server = Self { door, seen: seen.clone() };
        tokio::task::spawn_local(async move {
            while let Some(guest) = guests.recv().await {
                seen.made.fetch_add(1, Ordering::Relaxed);
                seen.open.fetch_add(1, Ordering::Relaxed);
                let seen = seen.clone();
                tokio::task::spawn_local(async move {
                    serve(guest, &seen).await.ok();
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

    fn count(&self, which: impl Fn(&Seen) -> &AtomicUsize) -> usize {
        which(&self.seen).load(Ordering::Relaxed)
    }
}

async fn serve(guest: DuplexStream, seen: &Arc<Seen>) -> Result<(), h2::Error> {
    let mut server = h2::server::Builder::new();
    let mut connection = server.max_concurrent_streams(STREAMS_MAX).handshake::<_, Bytes>(guest).await?;
    while let Some(stream) = connection.accept().await {
        let (_, mut respond) = stream?;
        let seen = seen.clone();
        seen.calls.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_local(async move {
            seen.let_go.acquire().await.expect("it is never closed").forget();
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

impl Net for Server {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let (near, far) = duplex(64 * 1024);
            self.door.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as Io)
        })
    }
}

/// Begins so many calls, and waits until as many as may be are under way.
async fn begin(client: &Client, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let calls = (0..count).map(|_| {
        let client = client.clone();
        tokio::task::spawn_local(async move {
            client.call::<Act>(ActRequest::default()).await.expect("an answer");
        })
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
            server.seen.let_go.add_permits(calls);
            for call in begun {
                call.await.expect("no panic");
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
        server.seen.let_go.add_permits(150);
        for call in begun {
            call.await.expect("no panic");
        }
    });
}

#[test]
fn a_connection_beyond_the_first_closes_when_it_has_no_call() {
    run_in_no_time(async {
        let server = Server::start();
        let client = server.client();
        let begun = begin(&client, 35).await;
        assert_eq!(server.count(|seen| &seen.open), 4);
        server.seen.let_go.add_permits(35);
        for call in begun {
            call.await.expect("no panic");
        }
        sleep(Duration::from_millis(2100)).await;
        assert_eq!(server.count(|seen| &seen.open), 1);
        server.seen.let_go.add_permits(1);
        begin(&client, 1).await;
        assert_eq!(server.count(|seen| &seen.made), 4, "the first is still there");
    });
}
