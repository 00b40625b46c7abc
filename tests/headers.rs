//! Headers of REST requests and metadata: which reach a handler, and which come back.

mod common;

use common::{LIMITS, SOON, host, run};
use probe_contract::probe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use transport::memory::Memory;
use transport::{CallerAddress, Client, Drain, ServiceClient as _, rest};

/// What the probe answers to a request over REST that asks it for the metadata that it sees.
async fn ask(let_through: &[&str], headers: &str) -> String {
    let drain = Drain::new();
    let (router, _events, _free) = host(&probe::Client::new(Client::new(Memory::new(), SOON, LIMITS)));
    let headers_let_through = let_through.iter().map(ToString::to_string).collect();
    let options = rest::Options { deadline: SOON, headers: headers_let_through, attempts_header: None };
    let server = rest::Server::new(router, options, drain.clone()).await;
    let (mut near, far) = duplex(64 * 1024);
    let open = drain.work();
    tokio::task::spawn_local(async move {
        server.serve_connection(Box::new(far), CallerAddress::Unix, open).await;
    });
    let request =
        format!("GET /probe/x?deed=METADATA HTTP/1.1\r\nhost: probe\r\n{headers}connection: close\r\n\r\n");
    near.write_all(request.as_bytes()).await.expect("the edge reads");
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.expect("the edge answers and closes");
    answer
}

#[test]
fn a_header_that_the_node_lets_through_is_metadata_of_the_call_and_no_other_is() {
    run(async {
        let sent = "Authorization: Bearer 1\r\nX-Probe: some text\r\nCookie: secret\r\n";
        let answer = ask(&["authorization", "x-probe"], sent).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(r#""text":"authorization x-probe""#), "{answer}");
    });
}

#[test]
fn what_the_handler_adds_to_the_answer_is_a_header_of_it() {
    run(async {
        let answer = ask(&["x-probe"], "x-probe: some text\r\n").await;
        assert!(answer.contains("\r\nx-probe: some text\r\n"), "{answer}");
    });
}

#[test]
fn a_header_that_is_the_nodes_own_does_not_pass_for_metadata() {
    run(async {
        let answer = ask(&["x-request-id", "grpc-timeout"], "x-request-id: a\r\ngrpc-timeout: 1S\r\n").await;
        assert!(answer.contains(r#""text":"""#), "{answer}");
    });
}

#[test]
fn headers_that_are_too_large_for_metadata_are_refused() {
    run(async {
        let large = format!("x-probe: {}\r\n", "x".repeat(9000));
        let answer = ask(&["x-probe"], &large).await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("the limit is 8192"), "{answer}");
    });
}
