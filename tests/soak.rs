//! Calls leave nothing behind in a node: neither what a gauge counts, nor memory.

mod process;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use http::{HeaderValue, Request};
use process::frames::{Begun, post};
use process::http2::{Client, SERVICE_1, SERVICE_2, TEST};
use process::{Connection, Node, wait_until};

const GREETING: &str = "/api/v1/say-hello?name=test";

/// An empty SETTINGS frame: with it a server has spoken HTTP/2.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// So many rounds of a hundred calls each, of which the first show how much memory a node takes that has seen all of
/// this: buffers, tables and pools grow to what they need.
const ROUNDS: usize = 100;
const WARM_UP: usize = 50;

/// So many rounds before the end of the warm-up, and before the end, are looked at: the most memory of the one and the
/// least of the other are compared, so that what comes and goes does not count.
const LOOKS: usize = 10;

/// How much more memory the other rounds may take, in bytes. Entries of a hundred bytes, left behind by the forty calls
/// of each round whose callee is down, would be more than twice as much.
const GROWTH_MAX: u64 = 64 * 1024;

/// The most calls that a node takes on here.
const ADMITTED: usize = 8;

/// Only that a node has started: what it says of calls would have to be read.
const QUIET: [&str; 6] = ["--services", "service2", "--workers", "1", "--log", "off,node=info"];

#[test]
fn ten_thousand_calls_that_fail_leave_memory_flat_and_gauges_at_rest() {
    let mut world = World::start();
    let looks: Vec<_> = (0..ROUNDS).map(|number| world.round(number)).collect();
    for (node, which) in ["callee down", "callee silent"].into_iter().enumerate() {
        let before = looks[WARM_UP - LOOKS..WARM_UP].iter().map(|look| look[node]).max();
        let after = looks[ROUNDS - LOOKS..].iter().map(|look| look[node]).min();
        let growth = after.unwrap_or_default().saturating_sub(before.unwrap_or_default());
        assert!(growth <= GROWTH_MAX, "{which}: {growth} bytes more, from {before:?} to {after:?}");
    }
    world.assert_at_rest();
}

/// So many requests without an end, of so many bytes each, are held by a node until their clients leave.
const HELD: usize = 20;
const HELD_SIZE: usize = 3_000_000;

#[test]
fn memory_that_calls_took_is_given_back_when_nobody_calls() {
    let node = Node::start(&QUIET[2..]);
    let mut client = Client::open(&node.address("grpc"));
    let before = node.memory();
    let mut calls: Vec<_> = (0..HELD).map(|_| client.begin(post(SERVICE_1))).collect();
    let mut message = vec![0; HELD_SIZE];
    message[1..5].copy_from_slice(&u32::try_from(HELD_SIZE).expect("it fits").to_be_bytes());
    calls.iter_mut().for_each(|call| call.send(&message, false));
    wait_until(|| {
        // It goes out while the node says how much it takes.
        client.flush();
        node.memory() > before + (HELD * HELD_SIZE / 2) as u64
    });
    drop((calls, client));
    wait_until(|| node.memory() < before + (HELD * HELD_SIZE / 4) as u64);
}

/// Two nodes whose calls fail, and clients of both.
struct World {
    /// Nobody listens where it looks for its callee.
    down: Node,
    down_rest: Connection,
    down_grpc: Client,
    /// Its callee speaks HTTP/2 and never answers a call.
    silent: Node,
    silent_grpc: Client,
}

impl World {
    fn start() -> Self {
        let down = Node::start(&[&QUIET[..], &["--peer", "service1=http://127.0.0.1:1"]].concat());
        let (callee, admitted) = (format!("service1=http://{}", silent_callee()), ADMITTED.to_string());
        let silent = Node::start(&[&QUIET[..], &["--peer", &callee, "--max-calls", &admitted]].concat());
        let (down_rest, down_grpc) = (down.http(), Client::open(&down.address("grpc")));
        let silent_grpc = Client::open(&silent.address("grpc"));
        Self { down, down_rest, down_grpc, silent, silent_grpc }
    }

    /// A hundred calls; how many bytes of memory each node has then.
    fn round(&mut self, number: usize) -> [u64; 2] {
        self.callee_is_down(40);
        self.requests_are_malformed(20);
        self.deadlines_are_too_short(10);
        self.too_many_then_cancelled(ADMITTED + 14);
        self.clients_hang_up(ADMITTED);
        // It takes a second until such a client is not taken for one that half-closed.
        if number.is_multiple_of(10) {
            self.rest_clients_hang_up(ADMITTED);
        }
        [&self.down, &self.silent].map(Node::memory)
    }

    fn callee_is_down(&mut self, calls: usize) {
        for _ in 0..calls / 2 {
            assert_eq!(self.down_rest.get(GREETING, "").status, 503);
            assert_eq!(self.down_grpc.call(post(SERVICE_2), TEST).code(), Some(14));
        }
    }

    fn requests_are_malformed(&mut self, calls: usize) {
        for _ in 0..calls / 2 {
            assert_eq!(self.down_rest.get("/api/v1/say-hello?name=%ff", "").status, 400);
            assert_ne!(self.down_grpc.call(post(SERVICE_2), b"\0\0\0\0\x02\x0a\x09").code(), Some(0));
        }
    }

    /// Passed on arrival, and passed while the callee is waited for.
    fn deadlines_are_too_short(&mut self, calls: usize) {
        let calls: Vec<_> = (0..calls / 2).map(|_| self.begun(Some("4m"))).collect();
        for begun in calls {
            assert_eq!(self.silent_grpc.reply(begun).code(), Some(4));
            assert_eq!(self.down_grpc.call(with_timeout("0m"), TEST).code(), Some(4));
        }
    }

    fn too_many_then_cancelled(&mut self, calls: usize) {
        let mut calls: Vec<_> = (0..calls).map(|_| self.begun(None)).collect();
        for refused in calls.drain(ADMITTED..).collect::<Vec<_>>() {
            assert_eq!(self.silent_grpc.reply(refused).code(), Some(8));
        }
        calls.into_iter().for_each(|begun| self.silent_grpc.cancel(begun));
    }

    /// With requests that wait for an answer.
    fn clients_hang_up(&mut self, calls: usize) {
        let mut client = Client::open(&self.silent.address("grpc"));
        let waiting = (0..calls).map(|_| begun(&mut client, None)).collect::<Vec<_>>();
        client.flush();
        drop((waiting, client));
        wait_until(|| taken(&self.silent).is_empty());
    }

    fn rest_clients_hang_up(&mut self, calls: usize) {
        for _ in 0..calls {
            self.silent.http().send(format!("GET {GREETING} HTTP/1.1\r\nhost: node\r\n\r\n"));
        }
        wait_until(|| taken(&self.silent).is_empty());
    }

    fn begun(&mut self, timeout: Option<&'static str>) -> Begun {
        begun(&mut self.silent_grpc, timeout)
    }

    fn assert_at_rest(&self) {
        for node in [&self.down, &self.silent] {
            wait_until(|| taken(node).is_empty());
        }
    }
}

fn begun(client: &mut Client, timeout: Option<&'static str>) -> Begun {
    let mut begun = client.begin(timeout.map_or_else(|| post(SERVICE_2), with_timeout));
    begun.send(TEST, true);
    begun
}

fn with_timeout(timeout: &'static str) -> Request<()> {
    let mut request = post(SERVICE_2);
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
    request
}

/// The gauges that are not at rest.
fn taken(node: &Node) -> Vec<String> {
    let metrics = node.http().get("/metrics", "").body;
    assert!(metrics.contains("rehearsal_handlers_running{service=\"service2\"} "), "{metrics}");
    let may_stay = ["connections_open", "callee_connections_open", "callee_addresses", "drain_waits_for"];
    let samples = metrics.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    let left =
        samples.filter(|line| !may_stay.iter().any(|name| line.contains(&format!("rehearsal_{name}"))));
    left.map(str::to_owned).collect()
}

/// The address of a server that speaks HTTP/2 and never answers.
#[expect(clippy::disallowed_methods, reason = "a server beside the node, outside of any simulation")]
fn silent_callee() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address").to_string();
    std::thread::spawn(move || listener.incoming().flatten().for_each(read_to_the_end));
    address
}

fn read_to_the_end(mut connection: TcpStream) {
    let mut bytes = [0; 4096];
    connection.write_all(SETTINGS).ok();
    while connection.read(&mut bytes).is_ok_and(|count| count > 0) {}
}
