//! A machine that was paused finds calls whose deadline has passed before any timer tells of it: they are not handled, and
//! handlers do not go on.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, Handler};
use common::counter::{in_the_node, worker};
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::FutureExt as _;
use probe_contract::AddRequest;
use protos::app::grpc::service1::{self, ProcessName, Service1};
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse};
use tokio::sync::Notify;
use tokio::task::yield_now;
use transport::memory::Memory;
use transport::{Call, Client, Code, Drain, Reply, Router, Serve, Service, ServiceClient as _};

fn amount(amount: i64) -> AddRequest {
    AddRequest { key: "a".to_owned(), amount }
}

/// Lets time pass in which the caller does not look, as if its machine had been paused, and lets the actor run.
async fn pass_unseen(time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..10 {
        yield_now().await;
    }
}

/// Waits to be told to go on, and says that it did.
#[derive(Clone)]
struct Waits {
    go_on: Arc<Notify>,
    gone_on: Arc<AtomicBool>,
}

impl Actor for Waits {
    type Context = actix::Context<Self>;
}

impl Serve for Waits {
    type Contract = Service1;
}

impl Handler<Call<ProcessName>> for Waits {
    type Result = Reply<ProcessName>;

    fn handle(&mut self, call: Call<ProcessName>, _: &mut actix::Context<Self>) -> Self::Result {
        let Self { go_on, gone_on } = self.clone();
        call.answer(async move |_| {
            go_on.notified().await;
            gone_on.store(true, Ordering::Relaxed);
            Ok(ProcessNameResponse::default())
        })
    }
}

#[test]
fn a_call_that_is_found_in_the_mailbox_after_its_deadline_changes_nothing() {
    run_in_no_time(async {
        let (_router, client) = worker(&in_the_node(&Arc::default()), LIMITS, &Drain::new());
        let mut late = pin!(client.add(amount(1)));
        assert!(late.as_mut().now_or_never().is_none(), "it is in the mailbox");
        pass_unseen(SOON * 2).await;
        assert_eq!(client.add(amount(0)).await.expect("an answer").total, 0);
        assert_eq!(late.await.expect_err("it is late").code(), Code::DeadlineExceeded);
    });
}

#[test]
fn a_handler_that_is_woken_after_its_deadline_does_not_go_on() {
    run_in_no_time(async {
        let (go_on, gone_on) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let waits = Waits { go_on: go_on.clone(), gone_on: gone_on.clone() };
        let service = Service::on_each_worker(move |()| waits.clone());
        let memory = Memory::new();
        let mut router = Router::builder(LIMITS, Drain::new());
        router.add(&service, &|name| unreachable!("it calls no {name}"));
        let router = router.build();
        memory.lead_to(&router);
        let client = service1::Client::new(Client::new(memory, SOON, LIMITS));
        let mut late = pin!(client.process_name(ProcessNameRequest::default()));
        assert!(late.as_mut().now_or_never().is_none());
        yield_now().await;
        tokio::time::advance(SOON * 2).await;
        go_on.notify_one();
        pass_unseen(Duration::ZERO).await;
        assert_eq!(late.await.expect_err("it is late").code(), Code::DeadlineExceeded);
        assert!(!gone_on.load(Ordering::Relaxed));
    });
}
