//! What a node remembers for idempotency keys is as its configuration says: how many, how much, and for how long. It
//! sheds calls for their deadline where it says so.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::counter::in_the_node;
use common::{SOON, grpc_client, run};
use futures_util::future::join_all;
use node::{App, Config, Hooks, ThisMachine};
use probe_contract::counter::{Add, AddLater};
use probe_contract::{AddRequest, Total};
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;
use transport::{Client, Code, Result};

/// Runs `claim` with a client of a node that hosts the counter and has these flags.
fn on_a_node(flags: &[&str], claim: impl AsyncFn(Client)) {
    on_a_node_that_goes_on(flags, &Arc::default(), claim);
}

/// The same, whose counter goes on when `go_on` says so.
fn on_a_node_that_goes_on(flags: &[&str], go_on: &Arc<Notify>, claim: impl AsyncFn(Client)) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let grpc = free.expect("a port is free").to_string();
    let app = App::from_iter([in_the_node(go_on)]);
    let flags = [&["--http", "none", "--grpc", &grpc, "--workers", "1"], flags].concat();
    let config = Config::from_flags(&app, &flags).expect("a valid configuration");
    run(async {
        let machine = ThisMachine::default();
        let client = grpc_client(&format!("http://{grpc}"));
        let claimed = async {
            while add(&client, "first", 0).await.is_err_and(|failed| failed.code() == Code::Unavailable) {
                yield_now().await;
            }
            claim(client).await;
        };
        let ended = node::run(app, config, &machine, Hooks::default(), claimed);
        timeout(SOON, ended).await.expect("it ends soon").expect("nothing went wrong");
    });
}

async fn add(client: &Client, key: &str, amount: i64) -> Result<Total> {
    let mut request = tonic::Request::new(AddRequest { key: "a".to_owned(), amount });
    request.metadata_mut().insert("idempotency-key", key.parse().expect("a value"));
    client.exchange::<Add>(request).await.map(tonic::Response::into_inner)
}

#[test]
fn a_node_remembers_no_more_keys_than_it_is_told_to() {
    on_a_node(&["--max-idempotency-keys", "2"], async |client| {
        add(&client, "second", 1).await.expect("there is room");
        let refused = add(&client, "third", 1).await.expect_err("there is none");
        assert_eq!(refused.code(), Code::ResourceExhausted);
    });
}

#[test]
fn a_node_remembers_no_more_bytes_than_it_is_told_to() {
    on_a_node(&["--max-idempotency-bytes", "600"], async |client| {
        let mut refused = None;
        for key in ["second", "third", "fourth"] {
            refused = refused.or(add(&client, key, 1).await.err());
        }
        assert_eq!(refused.expect("each takes 256 bytes at least").code(), Code::ResourceExhausted);
    });
}

#[test]
fn a_node_remembers_keys_for_as_long_as_it_is_told_to() {
    on_a_node(&["--idempotency-keys-for", "1ms"], async |client| {
        while add(&client, "second", 1).await.expect("an answer").total < 2 {
            yield_now().await;
        }
    });
}

/// Adds later, within that time.
async fn add_later(client: &Client, limit: Duration) -> Result<Total> {
    let mut request = tonic::Request::new(AddRequest { key: "a".to_owned(), amount: 1 });
    request.set_timeout(limit);
    client.exchange::<AddLater>(request).await.map(tonic::Response::into_inner)
}

#[test]
fn a_node_that_is_told_to_refuses_a_call_that_has_less_time_than_calls_take() {
    /// What is usual is known from so many answers.
    const ENOUGH: usize = 32;
    const TAKES: Duration = Duration::from_millis(200);
    let go_on = Arc::new(Notify::new());
    on_a_node_that_goes_on(&["--shed-by-deadline", "on"], &go_on, async |client| {
        let calls = (0..ENOUGH).map(|_| {
            let client = client.clone();
            spawn_local(async move { add_later(&client, SOON).await })
        });
        let calls: Vec<_> = calls.collect();
        add_later(&client, TAKES).await.expect_err("nobody goes on meanwhile");
        let answered = async {
            for call in join_all(calls).await {
                call.expect("no panic").expect("an answer");
            }
        };
        let going_on = async {
            loop {
                go_on.notify_waiters();
                yield_now().await;
            }
        };
        tokio::select! {
            () = answered => {}
            () = going_on => {}
        }
        let is_refused = async || {
            let failed = add_later(&client, TAKES / 2).await.expect_err("nobody goes on");
            failed.message().ends_with("it was not handled")
        };
        // One of eight is not, and a busy machine may be late to say so.
        while !is_refused().await {}
    });
}
