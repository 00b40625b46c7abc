//! The REST edge in front of a probe, and connections to it over pipes in memory, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use probe_contract::probe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use transport::memory::Memory;
use transport::{CallerAddress, Client, Drain, Io, Limits, Router, ServiceClient as _, rest};

use super::limits::{LIMITS, SOON};
use super::probe::{Event, host_of};

/// The longest that anything takes here, in a time that passes at once.
const HOUR: Duration = Duration::from_secs(3600);

const SECOND: Duration = Duration::from_secs(1);

/// An edge in front of a probe.
pub(crate) struct Edge {
    server: rest::Server,
    pub(crate) drain: Drain,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) free: Arc<Notify>,
}

impl Edge {
    pub(crate) async fn new() -> Self {
        Self::within(LIMITS).await
    }

    pub(crate) async fn within(limits: Limits) -> Self {
        let memory = Memory::new();
        let probe = probe::Client::new(Client::new(memory.clone(), SOON, limits));
        let (router, events, free) = host_of(&probe, Router::builder(limits, Drain::new()));
        memory.lead_to(&router);
        let drain = Drain::new();
        let options = rest::Options { deadline: HOUR, headers: Vec::new(), attempts_header: None };
        let server = rest::Server::new(router, options, drain.clone()).await;
        Self { server, drain, events, free }
    }

    /// A connection with room for `room` bytes on the way to its client and back.
    pub(crate) fn open(&self, room: usize) -> Connection {
        let (near, far) = duplex(room);
        Connection { near, serving: self.serve(Box::new(far)) }
    }

    pub(crate) fn serve(&self, io: Io) -> JoinHandle<()> {
        let (server, open) = (self.server.clone(), self.drain.work());
        tokio::task::spawn_local(async move { server.serve_connection(io, CallerAddress::Unix, open).await })
    }

    /// A connection over which `bytes` were sent.
    pub(crate) async fn told(&self, bytes: &str) -> Connection {
        let mut connection = self.open(1024 * 1024);
        connection.near.write_all(bytes.as_bytes()).await.expect("the edge reads");
        connection
    }

    /// Keeps the probe busy, so that the calls to it wait.
    pub(crate) async fn occupy(&mut self) {
        let occupy = "GET /probe/hello?deed=OCCUPY HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
        self.told(occupy).await.rest().await;
        assert_eq!(self.events.recv().await, Some(Event::Started));
    }
}

pub(crate) struct Connection {
    pub(crate) near: DuplexStream,
    pub(crate) serving: JoinHandle<()>,
}

impl Connection {
    /// All that comes until the edge closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut said = String::new();
        let read = timeout(HOUR, self.near.read_to_string(&mut said)).await;
        read.expect("the edge closes").expect("the edge says text");
        said
    }

    /// The same, which comes at once; then this side is closed, and that was what the edge waited for.
    pub(crate) async fn rest_at_once(&mut self) -> String {
        let started = Instant::now();
        let said = self.rest().await;
        self.near.shutdown().await.expect("a pipe takes that");
        self.served().await;
        assert!(started.elapsed() < SECOND / 10, "{:?}", started.elapsed());
        said
    }

    /// The head of an answer, and its body, which is as long as the head says if it is to have one.
    pub(crate) async fn answer(&mut self, has_body: bool) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.near.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("ASCII");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; if has_body { length.parse().expect("a number") } else { 0 }];
        self.near.read_exact(&mut body).await.expect("a body");
        (head, String::from_utf8(body).expect("JSON"))
    }

    /// How long it takes until the edge is done with it.
    pub(crate) async fn served(&mut self) -> Duration {
        let started = Instant::now();
        timeout(HOUR, &mut self.serving).await.expect("it ends").expect("no panic");
        started.elapsed()
    }
}
