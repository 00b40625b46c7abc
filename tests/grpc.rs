//! The gRPC edge of the built binary: answers, request ids, errors, and whatever a client may send.

mod process;

use std::net::TcpListener;

use h2::Reason;
use http::{HeaderValue, Request};
use process::frames::{Reply, post};
use process::http2::{ANSWER_1, ANSWER_2, Client, SERVICE_1, SERVICE_2, TEST};
use process::{Connection, Node};
use serde_json::Value;

const OK: u32 = 0;
const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;

fn grpc(node: &Node) -> Client {
    Client::open(&node.address("grpc"))
}

fn post_with(path: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = post(path);
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    request
}

/// The request id of an answer, which it carries under both names.
#[track_caller]
fn id_of(reply: &Reply) -> &str {
    let id = reply.header("x-request-id").unwrap_or_else(|| panic!("an id in {reply:?}"));
    assert_eq!(reply.header("request_id"), Some(id), "{reply:?}");
    id
}

#[track_caller]
fn assert_answer(reply: &Reply, message: &[u8]) {
    assert_eq!((reply.status, reply.code(), reply.body.as_slice()), (200, Some(OK), message), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/grpc"));
    assert!(reply.headers.get("grpc-status").is_none(), "{reply:?}");
    id_of(reply);
}

/// An error is headers and nothing else, and these have the code and the ids.
#[track_caller]
fn assert_error(reply: &Reply, code: u32) {
    assert_eq!((reply.status, reply.code()), (200, Some(code)), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/grpc"));
    assert!(reply.headers.contains_key("grpc-status"), "{reply:?}");
    assert!(reply.body.is_empty() && reply.trailers.is_empty(), "{reply:?}");
    id_of(reply);
}

/// Nothing else is harmed by what was sent: the same connection carries a good call.
#[track_caller]
fn assert_unharmed(client: &mut Client) {
    assert_answer(&client.call(post(SERVICE_2), TEST), ANSWER_2);
}

#[test]
fn both_services_answer_as_their_predecessors_did() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    assert_answer(&client.call(post(SERVICE_1), TEST), ANSWER_1);
    assert_answer(&client.call(post(SERVICE_2), TEST), ANSWER_2);
    let empty = b"\0\0\0\0\0";
    assert_answer(&client.call(post(SERVICE_1), empty), empty);
    assert_answer(&client.call(post(SERVICE_2), empty), b"\0\0\0\0\x0a\x0a\x08Hello, !");
}

#[test]
fn a_request_id_comes_back_whatever_its_header_is_called() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    let longest = "x".repeat(128);
    for id in ["abc-1", "!~", &longest] {
        for headers in [
            &[("x-request-id", id)][..],
            &[("request_id", id)],
            &[("x-request-id", "\t"), ("request_id", id)],
        ] {
            for (path, code) in [(SERVICE_2, OK), ("/app.grpc.Service2/Nothing", UNIMPLEMENTED)] {
                let reply = client.call(post_with(path, headers), TEST);
                assert_eq!((reply.code(), id_of(&reply)), (Some(code), id));
            }
        }
    }
    let both = [("x-request-id", "first"), ("request_id", "second")];
    assert_eq!(id_of(&client.call(post_with(SERVICE_1, &both), TEST)), "first");
    drop(client);
    let lines = node.stop().lines;
    let mut targets: Vec<_> = lines.iter().filter(|line| line["request_id"] == "first").collect();
    targets.sort_by_key(|line| line["target"].as_str());
    let targets: Vec<_> = targets.iter().filter_map(|line| line["target"].as_str()).collect();
    assert_eq!(targets, ["access", "actors::service1"]);
}

#[test]
fn an_unusable_request_id_is_replaced_and_never_echoed() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    let long = "x".repeat(129);
    for bad in ["", "two words", "tab\there", "\u{e9}", &long] {
        let headers = [("x-request-id", bad), ("request_id", bad)];
        for request in [post(SERVICE_1), post_with(SERVICE_1, &headers), post_with("/nowhere", &headers)] {
            let reply = client.call(request, TEST);
            let id = id_of(&reply);
            let form: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!((form, id.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'4'), "{id} is no UUID v4");
        }
    }
    drop(client);
    let lines = node.stop().lines;
    assert!(
        !lines.iter().any(|line| line.to_string().contains("two words") || line.to_string().contains(&long))
    );
}

#[test]
fn an_access_line_tells_method_path_status_duration_bytes_and_peer() {
    let mut node = Node::start(&["--log", "access=info,node=info"]);
    let mut client = grpc(&node);
    client.call(post_with(SERVICE_1, &[("request_id", "one")]), TEST);
    let line = node.line();
    process::assert_access_keys(&line);
    assert_eq!((&line["request_id"], &line["service"]), (&"one".into(), &"service1".into()));
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&"POST".into(), &SERVICE_1.into(), &"OK".into())
    );
    assert_eq!((&line["bytes"], &line["peer"]), (&11.into(), &Value::from(client.address.to_string())));
    assert!(line["duration_ms"].as_f64().expect("a number") > 0.0);
}

#[test]
fn the_access_line_of_what_failed_tells_how() {
    let mut node = Node::start(&["--log", "access=info,node=info"]);
    let mut client = grpc(&node);
    let get = Request::get("http://node/a?secret").body(()).expect("valid");
    for (request, method, path, status) in [
        (post("/a.B/C"), "POST", "/a.B/C", Value::from("UNIMPLEMENTED")),
        (post_with(SERVICE_1, &[("grpc-timeout", "1")]), "POST", SERVICE_1, "INVALID_ARGUMENT".into()),
        (post_with(SERVICE_1, &[("content-type", "text/plain")]), "POST", SERVICE_1, 415.into()),
        (get, "GET", "/a", 405.into()),
    ] {
        client.call(request, TEST);
        let line = node.line();
        assert_eq!(
            (&line["method"], &line["path"], &line["status"]),
            (&method.into(), &path.into(), &status)
        );
        assert_eq!(line["bytes"], 0);
    }
}

#[test]
fn what_is_no_method_is_unimplemented() {
    let node = Node::start(&["--services", "service1"]);
    let mut client = grpc(&node);
    for path in ["/app.grpc.Service1/Nothing", "/app.grpc.Nothing/ProcessName", SERVICE_2, "/", "/x"] {
        assert_error(&client.call(post(path), TEST), UNIMPLEMENTED);
        assert_answer(&client.call(post(SERVICE_1), TEST), ANSWER_1);
    }
}

#[test]
fn a_path_that_is_no_method_is_repeated_no_further_than_it_is_told() {
    let node = Node::start(&[]);
    let reply = grpc(&node).call(post(&format!("/{}", "x".repeat(4096))), TEST);
    assert_error(&reply, UNIMPLEMENTED);
    let message = reply.header("grpc-message").expect("a message").to_owned();
    let expected = format!("unknown%20method%20/{}%E2%80%A6(+3073%20bytes)", "x".repeat(1023));
    assert_eq!(message, expected);
}

#[test]
fn what_is_http2_but_not_grpc_is_refused_in_terms_of_http() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    for content_type in ["text/plain", "application/json", "", "application/grpc-web", "application/grpcx"] {
        let reply = client.call(post_with(SERVICE_1, &[("content-type", content_type)]), TEST);
        assert_eq!(reply.status, 415, "{content_type}");
        id_of(&reply);
        assert_unharmed(&mut client);
    }
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let reply = client.call(post_with(SERVICE_1, &[("content-type", content_type)]), TEST);
        assert_eq!(reply.body, ANSWER_1, "{content_type}");
    }
    let mut request = post(SERVICE_1);
    request.headers_mut().remove("content-type");
    assert_eq!(client.call(request, TEST).status, 415);
    let reply = client.call(Request::get(format!("http://node{SERVICE_1}")).body(()).expect("valid"), b"");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    id_of(&reply);
    let reply = client.call(post_with(SERVICE_1, &[("x-large", &"x".repeat(40_000))]), TEST);
    assert_eq!(reply.status, 431, "HTTP/2 itself has a limit, too");
    assert_unharmed(&mut client);
}

#[test]
fn metadata_over_the_limit_are_refused_with_a_request_id() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    // A name of seven bytes, and what HTTP/2 adds for each field.
    let largest = 8192 - 7 - 32;
    assert_answer(&client.call(post_with(SERVICE_1, &[("x-large", &"x".repeat(largest))]), TEST), ANSWER_1);
    for size in [largest + 1, 15_000, 30_000] {
        let reply = client.call(post_with(SERVICE_1, &[("x-large", &"x".repeat(size))]), TEST);
        assert_error(&reply, RESOURCE_EXHAUSTED);
        assert_unharmed(&mut client);
    }
}

#[test]
fn an_http1_request_is_told_that_this_port_speaks_http2() {
    let mut node = Node::start(&["--log", "access=info,node=info"]);
    for head in [
        "GET / HTTP/1.1\r\nhost: node\r\n\r\n",
        "POST /x HTTP/1.1\r\nhost: node\r\ncontent-length: 9\r\n\r\nnot all",
    ] {
        let mut http = Connection::open(&node.address("grpc"));
        http.send(head);
        let answer = http.answer(true);
        assert_eq!((answer.status, answer.header("content-type")), (505, Some("application/problem+json")));
        assert_eq!(
            (answer.header("connection"), answer.json()["status"].as_u64()),
            (Some("close"), Some(505))
        );
        let id = answer.header("x-request-id").expect("an id");
        assert_eq!(answer.json()["request_id"], id);
        let line = node.line();
        assert_eq!((&line["request_id"], &line["status"]), (&id.into(), &505.into()), "{line}");
        assert!(http.is_closed());
    }
    assert_unharmed(&mut grpc(&node));
}

#[test]
fn what_is_no_http_is_told_so_with_goaway() {
    const GOAWAY: u8 = 7;
    const PROTOCOL_ERROR: u8 = 1;
    let node = Node::start(&[]);
    let client_hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03";
    for garbage in [&b"hello\r\n\r\n"[..], client_hello, b"\0"] {
        let mut raw = Connection::open(&node.address("grpc"));
        raw.send(garbage);
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut raw.0, &mut said).expect("an answer, and its end");
        // An empty SETTINGS frame has nine bytes. Of a frame, the first three bytes are the length of what
        // follows its nine bytes of head, and the fourth is its type. Of GOAWAY, the error code follows four
        // bytes of stream id.
        let (settings, goaway) = said.split_at(9);
        assert_eq!(
            (settings[3], goaway[3], goaway[9 + 7]),
            (4, GOAWAY, PROTOCOL_ERROR),
            "{garbage:?}: {said:?}"
        );
        assert_eq!(usize::from(goaway[2]), goaway.len() - 9, "{garbage:?}: {said:?}");
    }
    // An HTTP/2 preface that is followed by something else.
    let mut raw = Connection::open(&node.address("grpc"));
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nwhat is this, and why is it sent?");
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut raw.0, &mut said).expect("an answer, and its end");
    assert!(said.len() > 9 + 17 && said[3] == 4, "{said:?}");
    assert_unharmed(&mut grpc(&node));
}

#[test]
fn a_call_whose_message_is_broken_fails_and_harms_nothing_else() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    let two = [TEST, TEST].concat();
    for (what, body, code) in [
        ("no message", &b""[..], UNIMPLEMENTED),
        ("half a header", b"\0\0\0", INTERNAL),
        ("cut off", &TEST[..8], INTERNAL),
        ("two messages", &two, UNIMPLEMENTED),
        ("one message and a half", &two[..15], INTERNAL),
        ("compressed, with no encoding named", b"\x01\0\0\0\x06\x0a\x04test", INTERNAL),
        ("neither compressed nor not", b"\x02\0\0\0\x06\x0a\x04test", INTERNAL),
        ("a field that is cut off", b"\0\0\0\0\x02\x0a\x04", INVALID_ARGUMENT),
        ("not UTF-8", b"\0\0\0\0\x03\x0a\x01\xff", INVALID_ARGUMENT),
        ("a field of another type", b"\0\0\0\0\x02\x08\x04", INVALID_ARGUMENT),
    ] {
        for path in [SERVICE_1, SERVICE_2] {
            let reply = client.call(post(path), body);
            assert_eq!(reply.code(), Some(code), "{what}: {reply:?}");
            assert_error(&reply, code);
            assert_unharmed(&mut client);
        }
    }
}

#[test]
fn a_message_that_only_announces_its_size_is_refused_at_once() {
    let node = Node::start(&["--max-message-size", "1000"]);
    let mut client = grpc(&node);
    for announced in [b"\0\0\0\x03\xe9", b"\0\xff\xff\xff\xff"] {
        let mut begun = client.begin(post(SERVICE_1));
        begun.send(announced, false);
        assert_error(&client.reply(begun), RESOURCE_EXHAUSTED);
        assert_unharmed(&mut client);
    }
    let largest = [&b"\0\0\0\x03\xe8\x0a\xe5\x07"[..], &[b'x'; 997]].concat();
    assert_eq!(
        client.call(post(SERVICE_1), &largest).code(),
        Some(OK),
        "1000 bytes are no more than the limit"
    );
}

#[test]
fn an_encoding_that_is_not_offered_is_unimplemented() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    for encoding in ["gzip", "zstd", "nonsense"] {
        assert_error(&client.call(post_with(SERVICE_1, &[("grpc-encoding", encoding)]), TEST), UNIMPLEMENTED);
        assert_unharmed(&mut client);
    }
    assert_answer(&client.call(post_with(SERVICE_1, &[("grpc-encoding", "identity")]), TEST), ANSWER_1);
}

#[test]
fn a_deadline_is_understood_or_refused_and_one_that_has_passed_is_exceeded() {
    let node = Node::start(&[]);
    let mut client = grpc(&node);
    for (timeout, code) in [
        ("", INVALID_ARGUMENT),
        ("10", INVALID_ARGUMENT),
        ("soon", INVALID_ARGUMENT),
        ("-1S", INVALID_ARGUMENT),
        ("1s", INVALID_ARGUMENT),
        ("123456789S", INVALID_ARGUMENT),
        ("0n", DEADLINE_EXCEEDED),
        ("1n", DEADLINE_EXCEEDED),
        ("99999999H", OK),
    ] {
        for path in [SERVICE_1, SERVICE_2] {
            let reply = client.call(post_with(path, &[("grpc-timeout", timeout)]), TEST);
            assert_eq!(reply.code(), Some(code), "{timeout:?}: {reply:?}");
            id_of(&reply);
        }
        assert_unharmed(&mut client);
    }
}

#[test]
fn a_call_that_its_client_takes_back_is_cancelled_and_harms_nothing_else() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let callee = format!("service1=http://{}", silent.local_addr().expect("an address"));
    let mut node =
        Node::start(&["--services", "service2", "--peer", &callee, "--log", "access=info,node=info"]);
    let mut client = grpc(&node);
    let mut begun = client.begin(post_with(SERVICE_2, &[("x-request-id", "taken-back")]));
    begun.send(TEST, true);
    client.flush();
    // service2 calls service1, so it is in the middle of its work.
    let _silence = silent.accept().expect("service2 connects");
    client.cancel(begun);
    let line = node.line();
    assert_eq!((&line["status"], &line["request_id"]), (&"CANCELLED".into(), &"taken-back".into()));
    assert_eq!(client.call(post(SERVICE_1), TEST).code(), Some(UNIMPLEMENTED), "the connection lives on");
}

#[test]
fn the_line_of_a_call_that_is_taken_back_half_said_tells_that_it_was_cancelled() {
    let mut node = Node::start(&["--log", "access=info,node=info"]);
    let mut client = grpc(&node);
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let mut begun = client.begin(post_with(SERVICE_1, &[("x-request-id", "half-said")]));
        begun.send(&TEST[..TEST.len() - 1], false);
        client.flush();
        begun.body.send_reset(reason);
        client.flush();
        let line = node.line();
        assert_eq!(
            (&line["status"], &line["request_id"]),
            (&"CANCELLED".into(), &"half-said".into()),
            "{reason}"
        );
    }
}

/// The deadline is 100 ms, and what is not read a second later is given up.
#[test]
fn an_answer_that_its_client_does_not_read_is_given_up_soon_after_its_deadline() {
    let mut node = Node::start(&["--log", "access=info,node=info"]);
    let mut client = Client::open_and_read_nothing(&node.address("grpc"));
    let mut begun = client.begin(post_with(SERVICE_1, &[("grpc-timeout", "100m")]));
    begun.send(TEST, true);
    client.flush();
    let line = node.line();
    assert_eq!(line["status"], "DEADLINE_EXCEEDED");
    let took = line["duration_ms"].as_f64().expect("a number");
    assert!((1100.0..5000.0).contains(&took), "{took} ms");
    assert_unharmed(&mut grpc(&node));
}
