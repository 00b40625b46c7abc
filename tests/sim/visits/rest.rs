//! What strangers say where a node serves REST.

use std::time::Duration;

use bytes::Bytes;
use rehearse::Ms as _;
use rehearse::strangers::{Answer, Stranger};

use super::{BODY_MAX, DEADLINE, DRAIN_MAX, PATIENCE};

/// How long a connection may be idle between requests.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// The largest head, in bytes.
const HEAD_MAX: usize = 128 * 1024;

pub(super) const GET: &str = "GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n";
const HEAD: &str = "HEAD /healthz HTTP/1.1\r\nhost: node\r\n\r\n";
const LAST: &str = "GET /healthz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n";
const HELLO_GET: &str = "GET /api/v1/say-hello?name=odd HTTP/1.1\r\nhost: node\r\n\r\n";
const HELLO_HEAD: &str = "HEAD /api/v1/say-hello?name=odd HTTP/1.1\r\nhost: node\r\n\r\n";

/// A head of a request with a body, but for how that is framed.
const POST: &str = "POST /back HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\n";
const NEGATIVE: &str = r#"{"text":"odd","waitMs":-1}"#;
const SCRIPT: &str = r#"{"text":"odd","waitMs":30}"#;

/// Several requests on one connection, and what each answer looks like.
pub(super) fn forms() -> Vec<Stranger> {
    let all = [GET, HEAD, GET, HEAD, LAST].concat();
    vec![
        rest("asks HEAD then GET at once")
            .says_at_once([HEAD, GET].concat())
            .hears(alive().without_body())
            .hears(alive()),
        rest("pipelines five requests")
            .says(all)
            .hears(alive())
            .hears(alive().without_body())
            .hears(alive())
            .hears(alive().without_body())
            .hears(alive().closing())
            .is_closed(),
        rest("asks a service HEAD then GET at once")
            .of("service2")
            .says_at_once([HELLO_HEAD, HELLO_GET].concat())
            .hears(hello().without_body())
            .hears(hello().with("Hello, ODD!")),
        rest("half-closes after its request")
            .of("service2")
            .says_at_once(HELLO_GET)
            .half_closes()
            .hears(hello())
            .is_closed(),
        rest("half-closes after two requests")
            .of("service2")
            .says_at_once([HELLO_GET, HELLO_HEAD].concat())
            .half_closes()
            .hears(hello())
            .hears(hello().without_body())
            .is_closed(),
        rest("asks again after a while")
            .says(GET)
            .hears(alive())
            .waits(3000.ms())
            .says(HEAD)
            .hears(alive().without_body())
            .says(GET)
            .hears(alive()),
        asks("speaks HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", alive().closing()).is_closed(),
        asks("asks for metrics", GET.replace("healthz", "metrics"), ok().with("rehearsal_")),
        asks("asks whether it is ready", GET.replace("healthz", "readyz"), ok().with("ready")),
        rest("half-closes at once").half_closes().is_closed(),
    ]
}

/// What is no request, or none that a node takes.
pub(super) fn refusals() -> Vec<Stranger> {
    let target = format!("GET /{} HTTP/1.1\r\nhost: node\r\n\r\n", "x".repeat(70_000));
    let headers = format!("GET /healthz HTTP/1.1\r\nhost: node\r\n{}\r\n", "x: 1\r\n".repeat(200));
    vec![
        is_refused("says hello", "hello\r\n\r\n", 400),
        is_refused("names no host", "GET /healthz HTTP/1.1\r\n\r\n", 400),
        is_refused("names two hosts", "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        is_refused("has a length that is none", post("content-length: x", ""), 400),
        is_refused("speaks HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        rest("is wrong after it was right")
            .says([GET, "hello\r\n\r\n"].concat())
            .hears(alive())
            .hears(refused(400))
            .is_closed(),
        is_refused("asks for a target that is too long", target, 414),
        is_refused("has too many headers", headers, 431),
        asks("has the largest head", head_of(HEAD_MAX), alive()),
        is_refused("has a head that is too large", head_of(HEAD_MAX + 1), 431),
        asks(
            "asks for nothing that is there",
            "GET /nowhere HTTP/1.1\r\nhost: node\r\n\r\n",
            Answer::new(404),
        ),
        asks(
            "deletes what it may look at",
            GET.replace("GET", "DELETE"),
            Answer::new(405).with("allow: GET, HEAD"),
        ),
        asks("escapes what is no letter", HELLO_GET.replace("odd", "%zz"), Answer::new(400)).of("service2"),
        asks("escapes what is no text", HELLO_GET.replace("odd", "%ff"), Answer::new(400)).of("service2"),
        asks("asks a service by a wrong method", HELLO_GET.replace("GET", "PUT"), Answer::new(405))
            .of("service2"),
        is_refused(
            "asks nobody, and has no end",
            "POST /nowhere HTTP/1.1\r\nhost: node\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            404,
        ),
    ]
}

/// Bodies of requests, in pieces, and such as are refused.
pub(super) fn bodies() -> Vec<Stranger> {
    let length = format!("content-length: {}", SCRIPT.len());
    let (first, second) = SCRIPT.split_at(9);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let text = post(&length, SCRIPT).replace("application/json", "text/plain");
    let none = HELLO_GET.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\n{}");
    let all = [
        rest("sends its body in chunks")
            .says(post("transfer-encoding: chunked", &chunk(first)))
            .waits(200.ms())
            .adds(chunk(second))
            .adds("0\r\n\r\n")
            .hears(ok().with("ODD")),
        rest("sends its body in two pieces, and asks again")
            .says(post(&length, first))
            .waits(200.ms())
            .adds([second, HEAD].concat())
            .hears(ok().with("ODD"))
            .hears(alive().without_body()),
        rest("asks while it waits, and half-closes")
            .says(post(&length, SCRIPT))
            .waits(10.ms())
            .adds(GET)
            .half_closes()
            .hears(ok().with("ODD"))
            .hears(alive())
            .is_closed(),
        asks("has the largest body", body_of(BODY_MAX), ok().with("ODD")),
        rest("asks, and says at once what has the largest body")
            .says_at_once([post(&length, SCRIPT), body_of(BODY_MAX)].concat())
            .hears(ok().with("ODD"))
            .hears(ok().with("ODD")),
        asks("has the largest body in chunks", chunks_of(BODY_MAX), ok().with("ODD")),
        is_refused("has a body that is too large", body_of(BODY_MAX + 1), 413),
        is_refused("announces a body that is too large", post("content-length: 40000", ""), 413),
        is_refused("has chunks that are too large", chunks_of(BODY_MAX + 1), 413),
        asks("has a body that is no JSON", post("content-length: 1", "{"), Answer::new(400)),
        asks("has a field that is wrong", whole("", NEGATIVE), Answer::new(400).with("waitMs")),
        is_refused("has a body of another type", text, 415),
        rest("half-closes within its body")
            .says(post(&length, first))
            .half_closes()
            .hears(refused(400))
            .is_closed(),
        rest("leaves its body unfinished")
            .says(post(&length, first))
            .hears_after(DEADLINE, refused(504))
            .is_closed(),
    ];
    let to_back = all.into_iter().map(|stranger| stranger.of("back"));
    // What the path says of a key counts, whatever else is said of it.
    let entry = r#"{"key":5,"amount":"1"}"#;
    let entry = post(&format!("content-length: {}", entry.len()), entry).replace("/back", "/ledger/odd");
    let others = [
        is_refused("has a body where none is to be", none, 400).of("service2"),
        asks("says twice which key it is about", entry, ok()).of("ledger"),
    ];
    to_back.chain(others).chain(keys()).collect()
}

/// Idempotency keys in the forms that a header may have, and in others.
fn keys() -> Vec<Stranger> {
    let quoted = HELLO_GET.replace("\r\n\r\n", "\r\nidempotency-key: \"odd; a,b\"\r\n\r\n");
    let malformed = [
        asks("has two keys in one", whole("idempotency-key: a,b\r\n", SCRIPT), Answer::new(400)),
        asks("has a key with a parameter", whole("idempotency-key: a;b\r\n", SCRIPT), Answer::new(400)),
        asks("has a key that does not end", whole("idempotency-key: \"a\r\n", SCRIPT), Answer::new(400)),
    ];
    let malformed = malformed.into_iter().map(|stranger| stranger.of("back"));
    malformed.chain([asks("has a key in quotes", quoted, hello()).of("service2")]).collect()
}

/// Those who take their time with a head.
pub(super) fn slow() -> Vec<Stranger> {
    let pause = PATIENCE * 3 / 10;
    vec![
        rest("says nothing").is_closed_after(PATIENCE),
        rest("begins a head").says("GET /he").hears_after(PATIENCE, refused(408)).is_closed(),
        rest("dribbles")
            .says("G")
            .waits(pause)
            .adds("ET /heal")
            .waits(pause)
            .adds(&GET[9..30])
            .waits(pause)
            .adds(&GET[30..])
            .hears(alive()),
        rest("dribbles for too long")
            .says("G")
            .waits(pause)
            .adds("E")
            .waits(pause)
            .adds("T /heal")
            .waits(pause)
            .adds("t")
            .hears_after(PATIENCE, refused(408))
            .is_closed(),
        rest("asks, and begins a head with that")
            .says_at_once([GET, "HE"].concat())
            .hears(alive())
            .hears_after(PATIENCE, refused(408))
            .is_closed(),
        rest("asks, begins a head with that, and ends it")
            .says_at_once([GET, &GET[..9]].concat())
            .hears(alive())
            .waits(pause)
            .adds(&GET[9..])
            .hears(alive()),
        rest("asks, and begins a head later")
            .says(GET)
            .hears(alive())
            .waits(pause * 2)
            .says("HE")
            .hears_after(PATIENCE, refused(408))
            .is_closed(),
        rest("asks, and dribbles much later")
            .says(GET)
            .hears(alive())
            .waits(PATIENCE * 2)
            .says("G")
            .waits(pause * 3)
            .adds(&GET[1..])
            .hears(alive()),
    ]
}

/// Those who ask, and then say nothing for longer than a head may take.
pub(super) fn stays() -> Vec<Stranger> {
    let large =
        format!("GET /healthz HTTP/1.1\r\nhost: node\r\nx-other: {}\r\n\r\n", "a".repeat(HEAD_MAX / 4));
    vec![
        rest("has a large head, and is idle").says_at_once(large).hears(alive()).waits(PATIENCE * 2),
        rest("says a head in halves, and is idle")
            .says_at_once(&GET[..20])
            .waits(100.ms())
            .says_at_once(&GET[20..])
            .hears(alive())
            .waits(PATIENCE * 2),
    ]
}

/// Those who are idle for as long as they may.
pub(super) fn silent() -> Vec<Stranger> {
    let most = IDLE_MAX - PATIENCE / 10;
    vec![
        rest("asks, and is idle").says_at_once(GET).hears(alive()).is_closed_after(IDLE_MAX),
        rest("dribbles, and is idle")
            .says(&GET[..1])
            .waits(PATIENCE / 2)
            .says(&GET[1..])
            .hears(alive())
            .is_closed_after(IDLE_MAX),
        rest("asks, and asks again in time")
            .says_at_once(GET)
            .hears(alive())
            .waits(most)
            .says(HEAD)
            .hears(alive().without_body()),
    ]
}

/// Those whom a drain meets. None of them is in the middle of a request for longer than a drain may take.
pub(super) fn leaving() -> Vec<Stranger> {
    let stays = DRAIN_MAX * 2;
    vec![
        rest("asks a service").of("service2").says_at_once(HELLO_GET).hears(hello()),
        rest("asks until it is told to leave").asks_until_told_to_leave(GET, 40),
        rest("says nothing, and stays").waits(stays),
        rest("asks, and stays").says(GET).hears(alive()).waits(stays),
    ]
}

fn rest(name: &'static str) -> Stranger {
    Stranger::over_rest(name)
}

fn ok() -> Answer {
    Answer::new(200)
}

/// What `GET` comes to, and what `HEAD` does.
fn alive() -> Answer {
    ok().of_length("alive\n".len())
}

fn hello() -> Answer {
    ok().of_length("\"Hello, ODD!\"".len())
}

/// An answer after which the connection ends.
fn refused(status: u16) -> Answer {
    Answer::new(status).closing()
}

/// One request and its answer.
fn asks(name: &'static str, request: impl Into<Bytes>, answer: Answer) -> Stranger {
    rest(name).says(request).hears(answer)
}

/// One that is told that it is wrong, and left.
fn is_refused(name: &'static str, said: impl Into<Bytes>, status: u16) -> Stranger {
    asks(name, said, refused(status)).is_closed()
}

fn post(framing: &str, body: &str) -> String {
    format!("{POST}{framing}\r\n\r\n{body}")
}

/// A request with these headers, and a body of which it says how long it is.
fn whole(headers: &str, body: &str) -> String {
    post(&format!("{headers}content-length: {}", body.len()), body)
}

/// A body of so many bytes.
fn body_of(bytes: usize) -> String {
    let body = format!("{SCRIPT}{}", " ".repeat(bytes - SCRIPT.len()));
    post(&format!("content-length: {bytes}"), &body)
}

/// A body of two chunks with so many bytes.
fn chunks_of(bytes: usize) -> String {
    let rest = bytes - SCRIPT.len();
    let chunks = format!("{:x}\r\n{SCRIPT}\r\n{rest:x}\r\n{}\r\n0\r\n\r\n", SCRIPT.len(), " ".repeat(rest));
    post("transfer-encoding: chunked", &chunks)
}

/// A head of so many bytes.
fn head_of(bytes: usize) -> String {
    let begin = "GET /healthz HTTP/1.1\r\nhost: node\r\nx: ";
    format!("{begin}{}\r\n\r\n", "x".repeat(bytes - begin.len() - 4))
}
