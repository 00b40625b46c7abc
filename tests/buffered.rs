//! No client fills the memory of a node with what is not yet, or no longer, a call: calls are admitted before they are
//! read, and what is held for clients has a bound.

mod process;

use std::io::Read as _;

use http::{HeaderValue, Request};
use process::frames::{Begun, post};
use process::http2::{ANSWER_1, Client, SERVICE_1, SlowServer, TEST};
use process::{Connection, Node, wait_until};

const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;

const MIB: usize = 1024 * 1024;

/// The head of a gRPC message of a mebibyte, which never comes as a whole.
const LARGE: &[u8] = b"\0\0\x10\0\0";

/// A node of one worker that says nothing of its calls.
fn node(flags: &[&str]) -> Node {
    Node::start(&[&["--services", "service1", "--workers", "1", "--log", "off,node=info"], flags].concat())
}

fn grpc(node: &Node) -> Client {
    Client::open(&node.address("grpc"))
}

fn with_timeout(timeout: &'static str) -> Request<()> {
    let mut request = post(SERVICE_1);
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
    request
}

/// What `GET /metrics` says of a gauge.
fn gauge(node: &Node, name: &str) -> usize {
    let metrics = node.http().get("/metrics", "").body;
    let sample = metrics.lines().find_map(|line| line.strip_prefix(&format!("rehearsal_{name} ")));
    sample.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{name} in {metrics}"))
}

const CALLS_TAKEN: &str = "permits_taken{service=\"service1\",for=\"calls\"}";

/// Calls whose heads have come, and the beginning of whose messages.
fn begun(client: &mut Client, calls: usize, bytes: &[u8]) -> Vec<Begun> {
    let begun = (0..calls).map(|_| {
        let mut begun = client.begin(post(SERVICE_1));
        if !bytes.is_empty() {
            begun.send(bytes, false);
        }
        begun
    });
    let begun = begun.collect();
    client.flush();
    begun
}

#[test]
fn a_call_takes_its_permit_before_its_message_has_come() {
    let node = node(&["--max-calls", "2"]);
    let mut client = grpc(&node);
    let calls = begun(&mut client, 2, &LARGE[..1]);
    assert_eq!(gauge(&node, CALLS_TAKEN), 2);
    let unread = client.begin(post(SERVICE_1));
    assert_eq!(client.reply(unread).code(), Some(RESOURCE_EXHAUSTED), "refused at once, without its message");
    for begun in calls {
        client.cancel(begun);
    }
    wait_until(|| gauge(&node, CALLS_TAKEN) == 0);
    assert_eq!(client.call(post(SERVICE_1), TEST).body, ANSWER_1);
}

#[test]
fn who_does_not_say_what_it_wants_gives_its_permits_to_who_does() {
    let node = node(&["--max-calls", "3"]);
    let (mut idle, mut other) = (grpc(&node), grpc(&node));
    let calls = begun(&mut idle, 3, &LARGE[..1]);
    assert_eq!(other.call(post(SERVICE_1), TEST).body, ANSWER_1);
    let slow = begun(&mut other, 2, &LARGE[..1]);
    let [oldest, second, newest] = calls.try_into().map_err(|_| "three calls").expect("as many were begun");
    for gone in [second, newest] {
        let reply = idle.reply(gone);
        assert_eq!(reply.code(), Some(RESOURCE_EXHAUSTED), "those that have come furthest stay: {reply:?}");
    }
    assert_eq!(gauge(&node, CALLS_TAKEN), 3);
    let unread = other.begin(post(SERVICE_1));
    assert_eq!(other.reply(unread).code(), Some(RESOURCE_EXHAUSTED), "it has more of them now");
    idle.cancel(oldest);
    slow.into_iter().for_each(|call| other.cancel(call));
    wait_until(|| gauge(&node, CALLS_TAKEN) == 0);
}

#[test]
fn answers_that_do_not_come_whole_fill_no_more_than_the_budget() {
    const MOST: usize = 16 * MIB;
    let mut callee = SlowServer::start();
    let (most, peer) = (MOST.to_string(), callee.flag());
    let flags = ["--services", "service2", "--workers", "1", "--log", "off,node=info", "--peer", &peer];
    let node = Node::start(&[&flags[..], &["--max-buffered", &most]].concat());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = node.http();
        client.send("GET /api/v1/say-hello?name=test HTTP/1.1\r\nhost: node\r\n\r\n");
        let answer = callee.accept();
        clients.push((client, callee.begin_answer(answer, LARGE)));
    }
    let refused = clients.iter_mut().rev().take(4).map(|(client, _)| client.answer(true).status);
    assert_eq!(refused.collect::<Vec<_>>(), [429; 4], "there is no room for what they are to get");
    let held = gauge(&node, "buffered_bytes");
    assert!(held > MOST / 2 && held <= MOST, "{held} bytes are held");
    drop(clients);
    wait_until(|| gauge(&node, "buffered_bytes") == 0);
}

#[test]
fn a_message_comes_within_the_nodes_own_deadline_whatever_its_caller_gives_it() {
    let node = node(&["--deadline", "300ms"]);
    let mut client = grpc(&node);
    for timeout in ["1H", "400m"] {
        let mut call = client.begin(with_timeout(timeout));
        call.send(LARGE, false);
        let reply = client.reply(call);
        assert_eq!(reply.code(), Some(DEADLINE_EXCEEDED), "{reply:?}");
    }
    wait_until(|| gauge(&node, CALLS_TAKEN) == 0);
}

#[test]
fn a_message_is_counted_as_large_as_its_buffer_and_given_back() {
    let node = node(&[]);
    let mut client = grpc(&node);
    let mut calls = begun(&mut client, 3, LARGE);
    wait_until(|| gauge(&node, "buffered_bytes") >= 3 * (MIB + LARGE.len()));
    let all = gauge(&node, "buffered_bytes");
    let heads = all - 3 * (MIB + LARGE.len());
    assert!((3 * 256..3 * 1024).contains(&heads), "{heads} bytes for three heads");
    calls.iter_mut().for_each(|call| call.send(&[0; 1000], false));
    client.flush();
    assert_eq!(gauge(&node, "buffered_bytes"), all, "there is room for what comes");
    calls.into_iter().for_each(|call| client.cancel(call));
    wait_until(|| gauge(&node, "buffered_bytes") == 0);
    assert_eq!(client.call(post(SERVICE_1), TEST).body, ANSWER_1);
    assert_eq!(node.http().get("/api/v1/name?name=test", "").status, 200);
    wait_until(|| gauge(&node, "buffered_bytes") == 0);
}

#[test]
fn clients_that_send_half_messages_fill_no_more_than_the_budget_and_harm_no_small_call() {
    const MOST: usize = 16 * MIB;
    let most = MOST.to_string();
    let node = node(&["--max-buffered", &most]);
    let before = node.memory();
    let mut clients: Vec<_> = (0..4).map(|_| grpc(&node)).collect();
    let half = vec![0; 100_000];
    let mut calls: Vec<_> = clients.iter_mut().map(|client| begun(client, 60, LARGE)).collect();
    for (client, calls) in clients.iter_mut().zip(&mut calls) {
        for _ in 0..10 {
            // A call that was refused takes no more.
            calls.iter_mut().for_each(|call| drop(call.body.send_data(half.clone().into(), false)));
            client.flush();
        }
        assert!(gauge(&node, "buffered_bytes") <= MOST);
    }
    let taken = gauge(&node, "buffered_bytes");
    assert!(taken > MOST / 2, "{taken} bytes are held: who sends them gets room while there is some");
    let grown = node.memory().saturating_sub(before);
    println!("{grown} bytes more, of which {taken} are counted");
    assert!(grown < 2 * MOST as u64, "{grown} bytes more");
    let mut small = grpc(&node);
    assert_eq!(small.call(post(SERVICE_1), TEST).body, ANSWER_1);
    assert_eq!(node.http().get("/api/v1/name?name=test", "").status, 200);
    drop(clients);
    wait_until(|| gauge(&node, "buffered_bytes") == 0);
}

#[test]
fn streams_without_a_message_are_refused_beyond_the_calls_that_are_taken_on() {
    let node = node(&["--max-calls", "100"]);
    let before = node.memory();
    let mut clients: Vec<_> = (0..5).map(|_| grpc(&node)).collect();
    let calls: Vec<_> = clients.iter_mut().map(|client| begun(client, 1000, &[])).collect();
    assert_eq!(gauge(&node, CALLS_TAKEN), 100);
    let grown = node.memory().saturating_sub(before);
    println!("{grown} bytes more for 5,000 streams");
    assert!(grown < 16 * MIB as u64, "{grown} bytes more");
    drop(calls);
}

#[test]
fn calls_that_are_reset_as_they_come_take_no_place_of_others() {
    let node = node(&["--max-calls", "8"]);
    let mut honest = grpc(&node);
    let mut hostile = Connection::open(&node.address("grpc"));
    hostile.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    for round in 0..100 {
        let calls: Vec<u8> = (0..50).flat_map(|call| reset_call((round * 50 + call) * 2 + 1)).collect();
        hostile.send(calls);
        let reply = honest.call(post(SERVICE_1), TEST);
        assert_eq!(reply.body, ANSWER_1, "in round {round}: {reply:?}");
    }
    // They are few enough, so that its connection may go on.
    hostile.send(frame(PING, 0, 0, &[1; 8]));
    let frames = std::iter::from_fn(|| Some(read_frame(&mut hostile)));
    let last =
        frames.map(|[kind, flags]| (kind, flags)).find(|frame| [(PING, ACK), (GOAWAY, 0)].contains(frame));
    assert_eq!(last, Some((PING, ACK)));
}

const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// Type and flags of the next frame.
fn read_frame(connection: &mut Connection) -> [u8; 2] {
    let mut head = [0; 9];
    connection.0.read_exact(&mut head).expect("a frame comes soon");
    let [a, b, c, kind, flags, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    connection.0.read_exact(&mut payload).expect("it is whole");
    [kind, flags]
}

/// A whole call on `stream`, which is taken back at once: HEADERS, DATA with its end, RST_STREAM with CANCEL.
fn reset_call(stream: u32) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat();
    // POST, http, :path, :authority, content-type, te (RFC 7541, appendix A).
    let head = [
        &b"\x83\x86\x04"[..],
        &literal(SERVICE_1),
        b"\x01",
        &literal("node"),
        b"\x0f\x10",
        &literal("application/grpc"),
        b"\0",
        &literal("te"),
        &literal("trailers"),
    ];
    [frame(1, 4, stream, &head.concat()), frame(0, 1, stream, TEST), frame(3, 0, stream, b"\0\0\0\x08")]
        .concat()
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
