//! Actors that say when a failed call may be made again: their callers wait so long, and REST clients are told.

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{LIMITS, SOON, host_of, run_in_no_time};
use futures_util::future::BoxFuture;
use probe_contract::CountRequest;
use probe_contract::probe::{self, Count};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::call::{Held, Interceptor};
use transport::grpc::{Grpc, Keepalive, Server};
use transport::memory::Memory;
use transport::policy::{Policies, Policy};
use transport::{
    Address, CallContext, CallerAddress, Client, Code, Drain, Io, Net, Result, Router, ServiceClient as _,
    Status, rest,
};

const MS: Duration = Duration::from_millis(1);

/// Refuses the first calls, and says of each when it may be made again.
struct Refusing(Mutex<Vec<&'static str>>, AtomicUsize);

struct Nothing;

impl Held for Nothing {}

impl Interceptor for Refusing {
    fn admit<'a>(
        &'a self,
        _: &'a CallContext,
        _: &'static str,
        _: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Held>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let said = self.0.lock().expect("nobody panicked with it").pop();
        let mut status = Status::unavailable("not now");
        if let Some(said) = said {
            let said = said.parse().expect("a value of metadata");
            status.metadata_mut().insert("grpc-retry-pushback-ms", said);
        }
        let outcome = said.map_or(Ok(Box::new(Nothing) as Box<dyn Held>), |_| Err(status));
        Box::pin(async move { outcome })
    }
}

/// A probe that refuses a call for each of these, the last one first.
fn refusing(said: &[&'static str]) -> (Router, Arc<Refusing>) {
    let refusing = Arc::new(Refusing(Mutex::new(said.to_vec()), AtomicUsize::new(0)));
    let mut router = Router::builder(LIMITS, Drain::new());
    router.intercept(refusing.clone());
    let itself = Client::new(Memory::new(), SOON, LIMITS);
    (host_of(&probe::Client::new(itself), router).0, refusing)
}

/// Leads to one server.
#[derive(Debug)]
struct Way(mpsc::UnboundedSender<Io>);

impl Net for Way {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        let (near, far) = duplex(64 * 1024);
        let sent = self.0.send(Box::new(far)).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        Box::pin(async move { sent.map(|()| Box::new(near) as Io) })
    }

    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(io::ErrorKind::NotFound.into()) })
    }
}

/// A client of it over gRPC, with all policies as they are with nothing said.
fn client(router: Router) -> Client {
    let (door, mut guests) = mpsc::unbounded_channel();
    let server = Server::new(router, SOON, Keepalive::default());
    tokio::task::spawn_local(async move {
        while let Some(io) = guests.recv().await {
            let server = server.clone();
            tokio::task::spawn_local(async move {
                server.serve_connection(io, CallerAddress::Memory, Drain::new().work()).await;
            });
        }
    });
    let (net, address) = (Arc::new(Way(door)) as Arc<dyn Net>, "http://probe:1".parse());
    let addresses = [address.expect("a valid address")];
    let carrier = Grpc::new("probe", &addresses, &net, Keepalive::default(), LIMITS.message_size);
    let policies = Policies { service: Arc::new(Policy::new(SOON)), ..Policies::new(SOON) };
    Client::with_policies("probe", carrier, policies, LIMITS)
}

/// An idempotent call.
async fn count(client: &Client) -> Result<()> {
    client.call::<Count>(CountRequest::default()).await.map(drop)
}

#[test]
fn a_caller_waits_as_long_as_the_actor_says() {
    run_in_no_time(async {
        let (router, refusing) = refusing(&["700"]);
        let client = client(router);
        let begun = Instant::now();
        count(&client).await.expect("the second attempt is answered");
        let took = begun.elapsed();
        assert!(took >= MS * 700 && took < MS * 750, "{took:?}");
        assert_eq!(refusing.1.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_call_that_is_not_to_be_made_again_is_not_and_its_own_caller_is_told_nothing_of_that() {
    run_in_no_time(async {
        let (router, refusing) = refusing(&["-1"]);
        let status = count(&client(router)).await.expect_err("told so");
        assert_eq!((status.code(), refusing.1.load(Ordering::Relaxed)), (Code::Unavailable, 1));
        assert!(status.metadata().is_empty(), "{status:?}");
    });
}

#[test]
fn in_memory_its_own_caller_is_told_nothing_either() {
    run_in_no_time(async {
        let (router, _) = refusing(&["700"]);
        let memory = Memory::new();
        memory.lead_to(&router);
        let status = count(&Client::new(memory, SOON, LIMITS)).await.expect_err("told so");
        assert!(status.code() == Code::Unavailable && status.metadata().is_empty(), "{status:?}");
    });
}

/// What a REST client is answered by a probe that says this.
async fn asked(said: &'static str) -> String {
    let ((router, _), drain) = (refusing(&[said]), Drain::new());
    let options = rest::Options { deadline: SOON, headers: Vec::new(), attempts_header: None };
    let server = rest::Server::new(router, options, drain.clone()).await;
    let (mut near, far) = duplex(64 * 1024);
    let open = drain.work();
    tokio::task::spawn_local(async move {
        server.serve_connection(Box::new(far), CallerAddress::Unix, open).await;
    });
    let request = b"GET /probe/x HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
    near.write_all(request).await.expect("the edge reads");
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.expect("the edge answers and closes");
    assert!(answer.starts_with("HTTP/1.1 503 ") && !answer.contains("grpc-"), "{answer}");
    answer
}

#[test]
fn a_rest_client_is_told_in_whole_seconds_when_to_ask_again() {
    run_in_no_time(async {
        for (said, seconds) in [("0", "0"), ("1", "1"), ("1000", "1"), ("1001", "2")] {
            let answer = asked(said).await;
            assert!(answer.contains(&format!("\r\nretry-after: {seconds}\r\n")), "{said}: {answer}");
        }
        for said in ["-1", "soon"] {
            assert!(!asked(said).await.contains("retry-after"), "{said}: nobody knows when");
        }
    });
}
