//! What becomes of calls when connections cannot be made, break, fall silent or are drained.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Event, LIMITS, SOON, TestServer, client_of, grpc_client, run};
use futures_util::FutureExt as _;
use probe_contract::probe::Act;
use probe_contract::{ActRequest, Deed};
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use transport::grpc::Keepalive;
use transport::status::NotSent;
use transport::{Client, Code, Status, status};

fn told(deed: Deed) -> ActRequest {
    ActRequest { deed: deed.into(), ..Default::default() }
}

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(told(Deed::Answer)).await.map(drop)
}

async fn act_within(client: &Client, limit: Duration) -> Result<(), Status> {
    let mut request = tonic::Request::new(told(Deed::Answer));
    request.set_timeout(limit);
    client.exchange::<Act>(request).await.map(drop)
}

/// A port whose queue of connections is full: the next one hangs, as behind a firewall that drops.
fn black_hole() -> (Socket, Vec<Socket>, SocketAddr) {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    listener.bind(&any.into()).expect("a port is free");
    listener.listen(0).expect("a bound socket listens");
    let address = listener.local_addr().expect("a bound socket has an address");
    let queued = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            // It connects in the background, or hangs: both fill the queue.
            socket.connect(&address).ok();
            socket
        })
        .collect();
    (listener, queued, address.as_socket().expect("an IP address"))
}

#[test]
fn the_deadline_covers_connecting() {
    run(async {
        let (_listener, _queued, address) = black_hole();
        let client = grpc_client(&format!("http://{address}"));
        let (started, limit) = (Instant::now(), Duration::from_millis(100));
        let error = act_within(&client, limit).await.expect_err("nobody");
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(started.elapsed() >= limit && started.elapsed() < SOON);
    });
}

#[test]
fn the_deadline_covers_a_callee_that_accepts_and_says_nothing() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let client = grpc_client(&format!("http://{address}"));
        let error = act_within(&client, Duration::from_millis(100)).await.expect_err("silence");
        assert_eq!(error.code(), Code::DeadlineExceeded);
    });
}

/// A port that says this to each connection, and what it says it to; then it reads until the caller hangs up, or hangs up
/// itself if it has nothing to say. And how many connections there were.
async fn port_that_says(greeting: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    tokio::task::spawn_local(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            if !greeting.is_empty() {
                tokio::task::spawn_local(async move {
                    connection.write_all(greeting).await.ok();
                    tokio::io::copy(&mut connection, &mut tokio::io::sink()).await.ok();
                });
            }
        }
    });
    (address, accepted)
}

/// Makes many calls to a port that says this, none of which comes through, and how many connections that took.
async fn connections_to_port_that_says(greeting: &'static [u8]) -> usize {
    let (address, accepted) = port_that_says(greeting).await;
    let client = grpc_client(&format!("http://{address}"));
    for _ in 0..1000 {
        let error = act(&client).await.expect_err("nobody");
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
    }
    accepted.load(Ordering::Relaxed)
}

#[test]
fn a_callee_that_is_down_is_not_connected_to_for_every_call() {
    run(async {
        // Accepts and hangs up, which is no connection: nobody spoke HTTP/2.
        assert_eq!(connections_to_port_that_says(b"").await, 1, "the backoff is 0.8 s at least");
    });
}

#[test]
fn a_port_that_speaks_something_else_is_not_connected_to_for_every_call() {
    run(async {
        let http1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(connections_to_port_that_says(http1).await, 1, "the backoff is 0.8 s at least");
        assert_eq!(connections_to_port_that_says(b"SSH-2.0-OpenSSH_9.6\r\n").await, 1);
        // A GOAWAY is a frame of HTTP/2, and no greeting.
        let goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(connections_to_port_that_says(goaway).await, 1);
    });
}

#[test]
fn a_callee_that_was_down_is_found_again() {
    run(async {
        let callee = TestServer::start("127.0.0.1:0").await;
        let (address, client) = (callee.address, grpc_client(&callee.uri()));
        act(&client).await.expect("an answer");
        drop(callee);
        tokio::task::yield_now().await;
        let error = loop {
            match act(&client).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Code::Unavailable);
        let _callee = TestServer::start(&address.to_string()).await;
        // The first backoff is 1.2 s at most. Nobody needs to wait for them.
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(1200)).await;
        tokio::time::resume();
        act(&client).await.expect("the backoff is over");
    });
}

#[test]
fn a_connection_that_is_lost_is_made_anew_without_a_wait() {
    run(async {
        let callee = TestServer::start("127.0.0.1:0").await;
        let (address, client) = (callee.address, grpc_client(&callee.uri()));
        act(&client).await.expect("an answer");
        drop(callee);
        while TcpListener::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        let _callee = TestServer::start(&address.to_string()).await;
        // The first may still be sent over the connection that was lost.
        act(&client).await.ok();
        act(&client).await.expect("a new connection, and no backoff");
    });
}

#[test]
fn after_a_lost_connection_one_attempt_is_made_and_then_the_backoff_begins_anew() {
    run(async {
        let callee = TestServer::start("127.0.0.1:0").await;
        let (address, client) = (callee.address, grpc_client(&callee.uri()));
        act(&client).await.expect("an answer");
        drop(callee);
        while act(&client).await.is_ok() {
            tokio::task::yield_now().await;
        }
        // That attempt, or the next, was refused. From now on the port counts those who come.
        let error = act(&client).await.expect_err("nobody is there");
        assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
        let listener = TcpListener::bind(address).await.expect("the port is free again");
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(400)).await;
        act(&client).await.expect_err("the first wait is 0.8 s at least");
        assert!(listener.accept().now_or_never().is_none(), "nobody came before its wait was over");
        tokio::time::advance(Duration::from_millis(800)).await;
        tokio::time::resume();
        let call = tokio::task::spawn_local(async move { act(&client).await });
        timeout(SOON, listener.accept()).await.expect("it is 1.2 s at most").expect("a connection");
        call.abort();
    });
}

#[test]
fn calls_take_turns_and_leave_out_what_is_down() {
    run(async {
        let (mut one, mut two) =
            (TestServer::start("127.0.0.1:0").await, TestServer::start("127.0.0.1:0").await);
        let (_listener, _queued, nowhere) = black_hole();
        let addresses = [one.uri(), format!("http://{nowhere}"), two.uri(), "http://127.0.0.1:1".to_owned()];
        let client = client_of(&addresses, Keepalive::default());
        for _ in 0..100 {
            act_within(&client, Duration::from_secs(1)).await.expect("two of four are up");
        }
        // One after the other: on a busy machine one may have looked far slower than the other, and has its turn when that is full.
        let (mut hanging, mut started) = (Vec::new(), [false; 2]);
        for _ in 0..4 * LIMITS.calls {
            if started == [true; 2] {
                break;
            }
            let client = client.clone();
            let mut call =
                tokio::task::spawn_local(async move { client.call::<Act>(told(Deed::Hang)).await });
            tokio::select! {
                event = one.events.recv() => started[0] |= event == Some(Event::Started),
                event = two.events.recv() => started[1] |= event == Some(Event::Started),
                ended = &mut call => {
                    let error = ended.expect("no panic").expect_err("it hangs where it is let in");
                    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
                    continue;
                }
            }
            hanging.push(call);
        }
        assert_eq!(started, [true; 2], "both have their turn");
        hanging.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

#[test]
fn a_connection_that_breaks_makes_its_calls_unavailable() {
    run(async {
        let mut callee = TestServer::start("127.0.0.1:0").await;
        let client = grpc_client(&callee.uri());
        let call = tokio::task::spawn_local(async move { client.call::<Act>(told(Deed::Hang)).await });
        assert_eq!(callee.events.recv().await, Some(Event::Started));
        drop(callee);
        let error = call.await.expect("no panic").expect_err("the connection broke");
        assert_eq!((error.code(), error.message()), (Code::Unavailable, "the connection was lost"));
        assert_eq!(status::proof_not_sent(&error), None, "it was sent, and even handled");
    });
}

/// Passes bytes on, until it is told to swallow them: then the connection is half-open, and only a ping
/// can tell. New connections are passed on always.
async fn proxy(to: SocketAddr) -> (SocketAddr, watch::Sender<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    // Connections with a number below this one are swallowed.
    let (swallow, swallowed) = watch::channel(0);
    tokio::task::spawn_local(async move {
        for number in 0.. {
            let (mut near, _) = listener.accept().await.expect("a connection comes");
            let mut far = TcpStream::connect(to).await.expect("the callee is there");
            let mut swallowed = swallowed.clone();
            tokio::task::spawn_local(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = swallowed.wait_for(|below| number < *below) => {
                        std::future::pending::<()>().await;
                    }
                }
                near.shutdown().await.ok();
            });
        }
    });
    (address, swallow)
}

#[test]
fn a_half_open_connection_is_found_and_replaced() {
    run(async {
        let callee = TestServer::start("127.0.0.1:0").await;
        let (address, swallow) = proxy(callee.address).await;
        let soon = Duration::from_millis(100);
        let keepalive = Keepalive { interval: soon, timeout: soon, greeting: soon };
        let client = client_of(&[format!("http://{address}")], keepalive);
        act(&client).await.expect("an answer");
        swallow.send_replace(1);
        let started = Instant::now();
        let error = act(&client).await.expect_err("nobody hears it");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(started.elapsed() < SOON / 2, "found by the ping, not by the deadline");
        act(&client).await.expect("a new connection");
    });
}

#[test]
fn a_drain_finishes_calls_and_then_connections() {
    run(async {
        let mut callee = TestServer::start("127.0.0.1:0").await;
        let client = grpc_client(&callee.uri());
        let hanging = client.clone();
        let call = tokio::task::spawn_local(async move {
            let mut request = tonic::Request::new(told(Deed::Hang));
            request.set_timeout(Duration::from_millis(300));
            hanging.exchange::<Act>(request).await
        });
        assert_eq!(callee.events.recv().await, Some(Event::Started));
        callee.drain();
        let error = call.await.expect("no panic").expect_err("it hangs to its deadline");
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
        timeout(SOON, callee.ended()).await.expect("the connection ends after its last call");
    });
}

#[test]
fn calls_during_a_drain_fail_over_without_an_error() {
    run(async {
        let (one, two) = (TestServer::start("127.0.0.1:0").await, TestServer::start("127.0.0.1:0").await);
        let client = client_of(&[one.uri(), two.uri()], Keepalive::default());
        for number in 0.. {
            if number == 100 {
                one.drain();
            }
            act(&client).await.unwrap_or_else(|error| panic!("call {number}: {error:?}"));
            if number >= 500 && one.has_ended() {
                break;
            }
        }
    });
}
