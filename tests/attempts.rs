//! A node that tells its REST clients how many attempts it made of calls to other nodes (`--attempts-header`).

mod process;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use process::http2::SlowServer;
use process::{Answer, Node};

const GREET: &str = "/api/v1/say-hello?name=ada";

/// The header, and attempts that follow each other at once.
const FLAGS: [&str; 4] = ["--attempts-header", "X-Attempts", "--policy", "backoff=1ms"];

/// A node of service2 whose service1 is `callee`.
fn caller_of(callee: &SlowServer) -> Node {
    Node::start(&[&["--services", "service2", "--peer", &callee.flag()], &FLAGS[..]].concat())
}

/// What the callee does with an attempt.
type Meet = fn(&mut SlowServer, SendResponse<Bytes>);

fn fails(callee: &mut SlowServer, call: SendResponse<Bytes>) {
    callee.answer_with(call, &[("grpc-status", "14")], b"", &[]);
}

fn refuses(_: &mut SlowServer, mut call: SendResponse<Bytes>) {
    call.send_reset(Reason::REFUSED_STREAM);
}

/// What a client is answered whose attempts are met so.
fn greeted(attempts: &[Meet]) -> Answer {
    let mut callee = SlowServer::start();
    let node = caller_of(&callee);
    let mut client = node.http();
    client.send(format!("GET {GREET} HTTP/1.1\r\nhost: node\r\n\r\n"));
    for meet in attempts {
        let call = callee.accept();
        meet(&mut callee, call);
    }
    client.answer(true)
}

#[track_caller]
fn assert_told(answer: &Answer, status: u16, attempts: Option<&str>) {
    assert_eq!((answer.status, answer.header("x-attempts")), (status, attempts), "{answer:?}");
}

#[test]
fn an_answer_tells_how_many_attempts_were_made() {
    assert_told(&greeted(&[SlowServer::answer]), 200, Some("1"));
    assert_told(&greeted(&[fails, SlowServer::answer]), 200, Some("2"));
    assert_told(&greeted(&[fails, fails, SlowServer::answer]), 200, Some("3"));
}

#[test]
fn an_error_tells_it_too() {
    assert_told(&greeted(&[fails, fails, fails]), 503, Some("3"));
}

#[test]
fn what_was_refused_unread_and_went_out_again_at_once_is_one_more() {
    assert_told(&greeted(&[refuses, SlowServer::answer]), 200, Some("2"));
}

#[test]
fn an_attempt_that_could_be_sent_nowhere_is_one() {
    let flags = ["--services", "service2", "--peer", "service1=http://127.0.0.1:1"];
    let node = Node::start(&[&flags[..], &FLAGS].concat());
    assert_told(&node.http().get(GREET, ""), 503, Some("3"));
}

#[test]
fn who_calls_no_other_node_makes_none() {
    let node = Node::start(&[&["--services", "service1"], &FLAGS[..]].concat());
    assert_told(&node.http().get("/api/v1/name?name=ada", ""), 200, Some("0"));
    let node = Node::start(&[&["--services", "service1,service2"], &FLAGS[..]].concat());
    assert_told(&node.http().get(GREET, ""), 200, Some("0"));
}

#[test]
fn what_leads_to_no_call_and_who_is_not_to_tell_has_no_such_header() {
    let node = Node::start(&[&["--services", "service1"], &FLAGS[..]].concat());
    assert_told(&node.http().get("/nowhere", ""), 404, None);
    assert_told(&node.http().get("/readyz", ""), 200, None);
    let node = Node::start(&["--services", "service1"]);
    assert_told(&node.http().get("/api/v1/name?name=ada", ""), 200, None);
}
