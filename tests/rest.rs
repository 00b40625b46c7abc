//! The REST edge of the built binary: answers, request ids, errors, and whatever a client may send.

mod process;

use process::http2::{ANSWER_1, SlowServer};
use process::{Answer, Connection, Node, SOON};
use serde_json::Value;

const GREETING: &str = "GET /api/v1/say-hello?name=test HTTP/1.1\r\nhost: node\r\n\r\n";

/// An error has the form of RFC 9457, its code, and the request id of the answer's header.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
    for key in ["type", "title", "detail"] {
        assert!(problem[key].is_string(), "{key} in {problem}");
    }
}

#[test]
fn both_services_answer_as_their_predecessors_did() {
    let node = Node::start(&[]);
    let mut http = node.http();
    let answer = http.get("/api/v1/name?name=test", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"name":"TEST"}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(http.get("/api/v1/say-hello?name=test", "").body, r#""Hello, TEST!""#);
    assert_eq!(http.get("/api/v1/name", "").body, r#"{"name":""}"#);
    assert_eq!(http.get("/api/v1/say-hello", "").body, r#""Hello, !""#);
    let accents = http.get("/api/v1/name?name=%C3%A9+%26&other=ignored", "");
    assert_eq!(accents.body, "{\"name\":\"\u{c9} &\"}");
}

#[test]
fn a_request_id_comes_back_and_is_in_every_line_of_its_request() {
    let node = Node::start(&[]);
    let mut http = node.http();
    let longest = "x".repeat(128);
    for id in ["abc-1", "!~", &longest] {
        let answer = http.get("/api/v1/say-hello?name=a", &format!("X-Request-ID: {id}\r\n"));
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    let fresh = http.get("/api/v1/say-hello?name=b", "").header("x-request-id").expect("an id").to_owned();
    let lines = node.stop().lines;
    for id in ["abc-1", "!~", &longest, &fresh] {
        let mut targets: Vec<_> = lines.iter().filter(|line| line["request_id"] == id).collect();
        targets.sort_by_key(|line| line["target"].as_str());
        let targets: Vec<_> = targets.iter().filter_map(|line| line["target"].as_str()).collect();
        assert_eq!(targets, ["access", "actors::service1", "actors::service2"], "{id}");
    }
    let outside: Vec<_> = lines.iter().filter(|line| line["target"] == "node").collect();
    assert!(!outside.is_empty() && outside.iter().all(|line| line.get("request_id").is_none()));
}

#[test]
fn an_unusable_request_id_is_replaced_and_never_echoed() {
    let node = Node::start(&[]);
    let mut http = node.http();
    let long = "x".repeat(129);
    for bad in ["", "two words", "tab\there", "\u{e9}", &long] {
        let answer = http.get("/api/v1/name", &format!("X-Request-ID: {bad}\r\n"));
        let id = answer.header("x-request-id").expect("an id");
        let form: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!((form, id.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'4'), "{id} is no UUID v4");
    }
    let lines = node.stop().lines;
    assert!(
        !lines.iter().any(|line| line.to_string().contains("two words") || line.to_string().contains(&long))
    );
}

#[test]
fn an_access_line_tells_method_path_status_duration_bytes_and_peer() {
    let mut node = Node::start(&["--log", "access=info,node=info"]);
    let mut http = node.http();
    let client = http.0.local_addr().expect("a connected socket has an address").to_string();
    http.get("/api/v1/name?name=secret", "X-Request-ID: one\r\n");
    let line = node.line();
    process::assert_access_keys(&line);
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&"GET".into(), &"/api/v1/name".into(), &200.into())
    );
    assert_eq!((&line["bytes"], &line["peer"]), (&17.into(), &Value::from(client)));
    assert!(line["duration_ms"].as_f64().expect("a number") > 0.0);
}

#[test]
fn what_is_no_call_is_answered_with_a_problem_and_harms_nothing_else() {
    let node = Node::start(&[]);
    let mut http = node.http();
    assert_problem(&http.get("/nowhere", ""), 404, "NOT_FOUND");
    let answer = http.request("POST", "/api/v1/name", "", "");
    assert_problem(&answer, 405, "UNIMPLEMENTED");
    assert_eq!(answer.header("allow"), Some("get, head"));
    for query in ["name=%ff", "name=%", "name=%zz", "name=a&name=b"] {
        assert_problem(&http.get(&format!("/api/v1/name?{query}"), ""), 400, "INVALID_ARGUMENT");
    }
    let answer = http.request("GET", "/api/v1/name", "content-length: 4\r\n", "body");
    assert_problem(&answer, 400, "INVALID_ARGUMENT");
    let answer = node.http().get("/api/v1/name?name=test", "");
    assert_eq!(answer.body, r#"{"name":"TEST"}"#);
}

#[test]
fn what_is_no_request_is_answered_with_a_problem_and_harms_nothing_else() {
    let node = Node::start(&[]);
    let large = format!("GET / HTTP/1.1\r\nhost: node\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nhost: node\r\n{}\r\n", "x: 1\r\n".repeat(200));
    for (bytes, status, code) in [
        ("hello\r\n\r\n", 400, "INVALID_ARGUMENT"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400, "INVALID_ARGUMENT"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "INVALID_ARGUMENT"),
        ("GET / HTTP/1.1\r\nhost: node\r\nbad header\r\n\r\n", 400, "INVALID_ARGUMENT"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "INVALID_ARGUMENT"),
        (large.as_str(), 431, "RESOURCE_EXHAUSTED"),
        (many.as_str(), 431, "RESOURCE_EXHAUSTED"),
    ] {
        let mut http = node.http();
        // The node may have seen enough, and closed, before all is written.
        std::io::Write::write_all(&mut http.0, bytes.as_bytes()).ok();
        assert_problem(&http.answer(true), status, code);
        assert!(http.is_closed());
    }
    assert_eq!(node.http().get("/api/v1/name?name=test", "").body, r#"{"name":"TEST"}"#);
}

#[test]
fn what_is_no_request_has_one_access_line_and_nothing_else_is_logged() {
    let node = Node::start(&[]);
    let mut http = node.http();
    let client = http.0.local_addr().expect("a connected socket has an address").to_string();
    http.send("GET /healthz HTTP/1.1\r\nhost: node\r\n\r\nhello\r\n\r\n");
    assert_eq!(http.answer(true).body, "alive\n");
    let answer = http.answer(true);
    assert_problem(&answer, 400, "INVALID_ARGUMENT");
    let lines: Vec<_> = node.stop().lines.into_iter().filter(|line| line["target"] != "node").collect();
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(200), Some(400)], "{lines:?}");
    assert_eq!(lines[1]["request_id"].as_str(), answer.header("x-request-id"));
    assert_eq!((&lines[1]["method"], &lines[1]["peer"]), (&"-".into(), &Value::from(client)));
}

#[test]
fn head_is_get_without_the_body() {
    let node = Node::start(&[]);
    let mut http = node.http();
    let answer = http.request("HEAD", "/api/v1/name?name=test", "", "");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("15")));
    assert_eq!(http.get("/healthz", "").body, "alive\n");
    assert_eq!(http.get("/readyz", "").body, "ready\n");
}

#[test]
fn requests_may_be_sent_before_earlier_ones_are_answered() {
    let node = Node::start(&[]);
    let mut http = node.http();
    let requests: String = (0..50)
        .map(|number| format!("GET /api/v1/name?name=n{number} HTTP/1.1\r\nhost: node\r\n\r\n"))
        .collect();
    http.send(requests);
    for number in 0..50 {
        assert_eq!(http.answer(true).body, format!("{{\"name\":\"N{number}\"}}"));
    }
}

#[test]
fn a_callee_that_is_down_is_503_and_its_address_stays_inside() {
    let node = Node::start(&["--services", "service2", "--peer", "service1=http://127.0.0.1:1"]);
    let answer = node.http().get("/api/v1/say-hello", "");
    assert_problem(&answer, 503, "UNAVAILABLE");
    assert_eq!(answer.json()["detail"], "service1 cannot be reached");
}

#[test]
fn what_a_callee_says_of_its_own_connections_stays_inside() {
    const WORDS: &str = "dial tcp 10.0.0.5:50051: connection refused";
    let mut callee = SlowServer::start();
    let node = Node::start(&["--services", "service2", "--peer", &callee.flag(), "--policy", "attempts=1"]);
    let status = [("grpc-status", "14"), ("grpc-message", WORDS)];
    let mut http = node.http();
    for (headers, trailers) in [(&status[..], &[][..]), (&[], &status)] {
        http.send(GREETING);
        let call = callee.accept();
        callee.answer_with(call, headers, b"", trailers);
        let answer = http.answer(true);
        assert_problem(&answer, 503, "UNAVAILABLE");
        assert_eq!(answer.json()["detail"], "service1 is unavailable");
    }
    let failed = |line: &serde_json::Value| line["message"] == "request failed" && line["error"] == WORDS;
    let told = node.stop().lines.into_iter().filter(failed).count();
    assert_eq!(told, 2, "the log has them");
}

#[test]
fn a_status_whose_details_are_broken_is_a_status_without_details() {
    let mut callee = SlowServer::start();
    let node = Node::start(&["--services", "service2", "--peer", &callee.flag()]);
    let mut http = node.http();
    for details in ["!", "%%%", "abcde"] {
        let status =
            [("grpc-status", "9"), ("grpc-message", "not now"), ("grpc-status-details-bin", details)];
        for (headers, body, trailers) in [(&status[..], &b""[..], &[][..]), (&[], ANSWER_1, &status)] {
            http.send(GREETING);
            let call = callee.accept();
            callee.answer_with(call, headers, body, trailers);
            let answer = http.answer(true);
            assert_problem(&answer, 400, "FAILED_PRECONDITION");
            assert_eq!(answer.json()["detail"], "not now");
        }
    }
    let lines = node.stop().lines;
    assert!(!lines.iter().any(|line| line["message"] == "panic"), "{lines:?}");
}

#[test]
fn a_callee_that_is_silent_is_504_by_the_deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let callee = format!("service1=http://{}", silent.local_addr().expect("an address"));
    let node = Node::start(&["--services", "service2", "--peer", &callee, "--deadline", "200ms"]);
    let started = std::time::Duration::from_millis(200);
    let answer = Connection::open(&node.address("http")).get("/api/v1/say-hello", "");
    assert_problem(&answer, 504, "DEADLINE_EXCEEDED");
    let line = node.stop().lines.into_iter().find(|line| line["target"] == "access").expect("a line");
    let took = line["duration_ms"].as_f64().expect("a number");
    assert!(took >= started.as_secs_f64() * 1e3 && took < SOON.as_secs_f64() * 500.0, "{took} ms");
}
