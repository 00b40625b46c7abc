//! How a connection ends that was drained: its client may have something under way, and is read until it closes.
//!
//! The wire is a pipe in memory, and time passes at once when nothing else happens.

mod common;

use std::time::Duration;

use common::{LIMITS, SOON, host, run_in_no_time};
use probe_contract::probe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use transport::grpc::{Keepalive, Server};
use transport::memory::Memory;
use transport::{CallerAddress, Client, Drain, Router, ServiceClient as _};

/// The longest that a connection is read when it is drained.
const LINGER: Duration = Duration::from_secs(1);

/// The preface of HTTP/2, and empty SETTINGS.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// A client that answers pings and says nothing else, at a connection that has been drained.
struct Drained {
    near: DuplexStream,
    serving: JoinHandle<()>,
    _router: Router,
}

impl Drained {
    /// Reads until the server has said all, GOAWAY last.
    async fn new() -> Self {
        let memory = Memory::new();
        let (router, ..) = host(&probe::Client::new(Client::new(memory.clone(), SOON, LIMITS)));
        let (server, drain) = (Server::new(router.clone(), SOON, Keepalive::default()), Drain::new());
        let (mut near, far) = duplex(64 * 1024);
        let connection = drain.work();
        let serving = tokio::task::spawn_local(async move {
            server.serve_connection(Box::new(far), CallerAddress::Unix, connection).await;
        });
        near.write_all(HELLO).await.expect("the edge reads");
        let mut last = read_frame(&mut near).await.expect("SETTINGS");
        drain.start();
        while let Some(frame) = read_frame(&mut near).await {
            if let (PING, 0, payload) = &frame {
                let ack = [&[0, 0, 8, PING, ACK, 0, 0, 0, 0], &payload[..]].concat();
                near.write_all(&ack).await.expect("the edge reads");
            }
            last = frame;
        }
        assert_eq!(last.0, GOAWAY);
        Self { near, serving, _router: router }
    }

    /// How long it takes until the edge is done with it.
    async fn served(&mut self) -> Duration {
        let started = Instant::now();
        timeout(LINGER * 60, &mut self.serving).await.expect("it ends").expect("no panic");
        started.elapsed()
    }
}

/// Type, flags and payload of the next frame (RFC 9113, section 4.1); none if there is no more.
async fn read_frame(near: &mut DuplexStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    near.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    near.read_exact(&mut payload).await.expect("a whole frame");
    Some((kind, flags, payload))
}

#[test]
fn a_drained_connection_is_read_until_its_client_closes_it() {
    run_in_no_time(async {
        let mut drained = Drained::new().await;
        assert!(timeout(LINGER / 2, &mut drained.serving).await.is_err(), "it was closed at once");
        drained.near.write_all(&[0; 1000]).await.expect("what was under way is read");
        drained.near.shutdown().await.expect("a pipe takes that");
        assert!(drained.served().await < LINGER / 10);
    });
}

#[test]
fn a_client_that_does_not_close_a_drained_connection_is_waited_for_no_longer_than_a_second() {
    run_in_no_time(async {
        let took = Drained::new().await.served().await;
        assert!(took >= LINGER * 9 / 10 && took < LINGER * 2, "{took:?}");
    });
}
