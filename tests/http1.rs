//! HTTP/1.1 at the REST edge, byte by byte: whose answer is whose, what is no request, and how connections end.
//!
//! The wire is a pipe in memory, and time passes at once when nothing else happens.

mod common;

use std::time::Duration;

use common::http1::Edge;
use common::{LIMITS, run_in_no_time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// How long a client may take to send a head, and may be idle between requests.
const PATIENCE: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(75);

/// How long a client may leave an answer unread.
const UNREAD_MAX: Duration = Duration::from_secs(30);

const GET: &str = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\n\r\n";
const HEAD: &str = "HEAD /probe/hello HTTP/1.1\r\nhost: probe\r\n\r\n";
const LAST: &str = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";

fn is_about(took: Duration, expected: Duration) -> bool {
    took >= expected && took < expected + Duration::from_millis(100)
}

#[test]
fn each_answer_has_the_form_that_its_own_request_asks_for_even_if_both_came_at_once() {
    for (first, second) in [(HEAD, GET), (GET, HEAD), (GET, LAST), (HEAD, LAST)] {
        for waits in [false, true] {
            run_in_no_time(async {
                let mut edge = Edge::new().await;
                if waits {
                    edge.occupy().await;
                }
                let mut connection = edge.told(&format!("{first}{second}")).await;
                edge.free.notify_one();
                for request in [first, second] {
                    let (head, body) = connection.answer(request != HEAD).await;
                    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
                    assert_eq!(head.contains("connection: close"), request == LAST, "{head}");
                    assert_eq!(body.is_empty(), request == HEAD, "{body}");
                    assert_eq!(body.contains("\"text\":\"hello\""), request != HEAD, "{body}");
                }
            });
        }
    }
}

#[test]
fn a_client_that_pipelines_and_does_not_read_costs_little_and_is_given_up() {
    for request in [GET, HEAD] {
        run_in_no_time(async {
            let edge = Edge::new().await;
            let mut connection = edge.open(4096);
            let requests = request.repeat(1000);
            let mut sent = 0;
            // Time stands still while anything is done, so that this ends only if nothing is.
            let send = async {
                while connection.near.write_all(requests.as_bytes()).await.is_ok() {
                    sent += requests.len();
                }
            };
            let started = Instant::now();
            timeout(HOUR, send).await.expect("it is given up");
            assert!(is_about(started.elapsed(), UNREAD_MAX), "{:?}", started.elapsed());
            assert!(sent < 256 * 1024, "{sent} bytes were read");
        });
    }
}

#[test]
fn an_answered_request_whose_body_never_ends_does_not_keep_its_connection() {
    run_in_no_time(async {
        let edge = Edge::new().await;
        let endless =
            "POST /nowhere HTTP/1.1\r\nhost: probe\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let mut connection = edge.told(endless).await;
        let (head, _) = connection.answer(true).await;
        assert!(head.starts_with("HTTP/1.1 404 ") && head.contains("connection: close"), "{head}");
        assert_eq!(connection.rest().await, "");
        assert!(connection.served().await < 2 * SECOND);
    });
}

/// What the edge says of a request that it could not read.
fn said_of(status: &str) -> &'static str {
    match &status[..3] {
        "408" => "the request did not come in time",
        "414" => "the target of the request is too long",
        "431" => "the head of the request is too large",
        _ => "this is not an HTTP/1.1 request",
    }
}

#[test]
fn what_is_no_request_is_answered_after_the_requests_before_it() {
    for (no_request, status) in [
        ("hello\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.0\r\nhost: a b\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", "400 Bad Request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request"),
        (&format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000)), "414 URI Too Long"),
        (
            &format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(200)),
            "431 Request Header Fields Too Large",
        ),
    ] {
        for good in [0, 1, 2] {
            run_in_no_time(async {
                let mut edge = Edge::new().await;
                edge.occupy().await;
                let mut connection = edge.told(&(GET.repeat(good) + no_request)).await;
                edge.free.notify_one();
                for _ in 0..good {
                    let (head, _) = connection.answer(true).await;
                    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                }
                let (head, body) = connection.answer(true).await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
                assert!(head.contains("connection: close") && head.contains("x-request-id: "), "{head}");
                assert!(head.contains("content-type: application/problem+json"), "{head}");
                assert!(body.contains("\"request_id\"") && body.contains(said_of(status)), "{body}");
                assert_eq!(connection.rest().await, "");
            });
        }
    }
}

#[test]
fn how_large_a_head_may_be_does_not_depend_on_how_it_is_cut_into_pieces() {
    const HEAD_MAX: usize = 128 * 1024;
    let begin = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\nx: ";
    let head = |size: usize| format!("{begin}{}\r\n\r\n", "x".repeat(size - begin.len() - 4));
    let target = format!("GET /{} HTTP/1.1\r\nhost: probe\r\n\r\n", "x".repeat(70_000));
    for (sent, status) in
        [(head(HEAD_MAX), "200"), (head(HEAD_MAX + 1), "431"), (head(200_000), "431"), (target, "414")]
    {
        for piece in [1000, 4096, 16 * 1024, 1024 * 1024] {
            run_in_no_time(async {
                let edge = Edge::new().await;
                let mut connection = edge.open(piece);
                // The edge may have seen enough before all is written.
                connection.near.write_all(sent.as_bytes()).await.ok();
                let (head, _) = connection.answer(true).await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{piece}, {}: {head}", sent.len());
            });
        }
    }
}

#[test]
fn a_head_that_does_not_come_in_time_is_answered_and_a_client_that_says_nothing_is_not() {
    for (said, limit, status) in [
        ("GET / HTTP/1.1\r\n", PATIENCE, "408 Request Timeout"),
        ("", PATIENCE, ""),
        (&format!("{GET}GET /"), PATIENCE, "408 Request Timeout"),
        (GET, IDLE_MAX, ""),
    ] {
        run_in_no_time(async {
            let edge = Edge::new().await;
            let (good, rest) = said.strip_prefix(GET).map_or(("", said), |rest| (GET, rest));
            let mut connection = edge.told(good).await;
            if !good.is_empty() {
                connection.answer(true).await;
            }
            let started = Instant::now();
            connection.near.write_all(rest.as_bytes()).await.expect("the edge reads");
            let said = connection.rest().await;
            assert!(is_about(started.elapsed(), limit), "{:?}", started.elapsed());
            assert!(said.is_empty() == status.is_empty() && said.contains(status), "{said}");
            assert!(status.is_empty() || said.contains(said_of(status)), "{said}");
        });
    }
}

#[test]
fn a_head_that_begins_together_with_the_request_before_has_its_time_from_the_answer_to_that() {
    run_in_no_time(async {
        let edge = Edge::new().await;
        let started = Instant::now();
        let mut connection = edge.told(&format!("{GET}GET /")).await;
        connection.answer(true).await;
        let said = connection.rest().await;
        assert!(is_about(started.elapsed(), PATIENCE), "{:?}", started.elapsed());
        assert!(said.contains("408 Request Timeout"), "{said}");
    });
}

#[test]
fn a_head_that_comes_in_pieces_has_its_time_from_its_first_byte() {
    run_in_no_time(async {
        let edge = Edge::new().await;
        let mut connection = edge.told(GET).await;
        connection.answer(true).await;
        tokio::time::sleep(IDLE_MAX - SECOND).await;
        connection.near.write_all(&GET.as_bytes()[..10]).await.expect("the edge reads");
        tokio::time::sleep(PATIENCE - SECOND).await;
        connection.near.write_all(&GET.as_bytes()[10..]).await.expect("the edge reads");
        let (head, _) = connection.answer(true).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    });
}

#[test]
fn a_client_that_pauses_in_a_head_behind_a_request_is_served_on() {
    run_in_no_time(async {
        let edge = Edge::new().await;
        let (begun, left) = GET.split_at(10);
        let mut connection = edge.told(&format!("{GET}{begun}")).await;
        connection.answer(true).await;
        for (paused, said) in [(PATIENCE - SECOND, left), (PATIENCE + SECOND, GET)] {
            tokio::time::sleep(paused).await;
            connection.near.write_all(said.as_bytes()).await.expect("the edge reads");
            let (head, _) = connection.answer(true).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        }
    });
}

#[test]
fn who_asks_when_a_drain_was_announced_is_told_to_leave_before_it_starts() {
    run_in_no_time(async {
        let edge = Edge::new().await;
        let mut connection = edge.told(GET).await;
        let (head, _) = connection.answer(true).await;
        assert!(!head.contains("connection: close"), "{head}");
        edge.drain.announce();
        connection.near.write_all(GET.as_bytes()).await.expect("the edge reads");
        let said = connection.rest_at_once().await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("connection: close"), "{said}");
    });
}

#[test]
fn a_drain_ends_idle_connections_at_once_and_others_with_the_answer() {
    for after in [SECOND / 2, 3 * SECOND] {
        run_in_no_time(async {
            let mut edge = Edge::new().await;
            let (mut silent, mut idle) = (edge.open(1024), edge.told(GET).await);
            idle.answer(true).await;
            edge.occupy().await;
            let mut busy = edge.told(GET).await;
            tokio::time::sleep(after).await;
            edge.drain.start();
            for connection in [&mut silent, &mut idle] {
                assert_eq!(connection.rest().await, "");
                connection
                    .near
                    .write_all(GET.repeat(100).as_bytes())
                    .await
                    .expect("what crosses the end is read");
                assert_eq!(connection.rest_at_once().await, "");
            }
            edge.free.notify_one();
            let said = busy.rest_at_once().await;
            assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("connection: close"), "{said}");
        });
    }
}

#[test]
fn a_body_above_the_limit_is_refused_however_its_length_is_told() {
    let too_many = LIMITS.message_size + 1;
    let announced = format!("content-length: {too_many}\r\n\r\n");
    let in_chunks = format!("transfer-encoding: chunked\r\n\r\n{too_many:x}\r\n{}", "x".repeat(too_many));
    for body in [announced, in_chunks] {
        run_in_no_time(async {
            let edge = Edge::new().await;
            let head = "PUT /probe HTTP/1.1\r\nhost: probe\r\ncontent-type: application/json\r\n";
            let (head, body) = edge.told(&format!("{head}{body}")).await.answer(true).await;
            assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
            assert!(body.contains("RESOURCE_EXHAUSTED"), "{body}");
        });
    }
}

#[test]
fn a_body_is_asked_for_if_its_client_waits_for_that() {
    run_in_no_time(async {
        let edge = Edge::new().await;
        let head = "PUT /probe HTTP/1.1\r\nhost: probe\r\ncontent-type: application/json\r\n\
            content-length: 12\r\nexpect: 100-continue\r\n\r\n";
        let mut connection = edge.told(head).await;
        let mut go_on = [0; 25];
        connection.near.read_exact(&mut go_on).await.expect("an answer");
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.near.write_all(b"{\"text\":\"a\"}").await.expect("the edge reads");
        let (head, body) = connection.answer(true).await;
        assert_eq!((head.contains("connection: close"), &*body), (false, "\"a\""));
    });
}

#[test]
fn http_1_0_is_answered_once_unless_its_client_asks_for_more() {
    for (headers, is_kept) in [("", false), ("connection: keep-alive\r\n", true)] {
        run_in_no_time(async {
            let edge = Edge::new().await;
            let mut connection = edge.told(&format!("GET /probe/a HTTP/1.0\r\n{headers}\r\n")).await;
            let (head, _) = connection.answer(true).await;
            assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
            assert_eq!(head.contains("connection: keep-alive"), is_kept, "{head}");
            let started = Instant::now();
            connection.rest().await;
            assert_eq!(started.elapsed() > SECOND, is_kept, "{:?}", started.elapsed());
        });
    }
}
