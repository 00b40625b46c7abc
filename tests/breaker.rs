//! What becomes of calls to a service that fails as a whole: they are held back, but for one now and then that finds out
//! whether it works again.

mod common;
mod town;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::carrier::{answer, counted, idempotent};
use common::{SOON, run_in_no_time};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending, ready};
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use protos::app::grpc::ProcessNameRequest;
use protos::app::grpc::service1::ProcessName;
use tokio::time::{Instant, sleep};
use town::{LIMITS, Manner, Town};
use transport::gauges::Gauge;
use transport::policy::{Breaker, Policies};
use transport::status::{NotSent, not_sent, proof_not_sent};
use transport::{Client, Code, Gauges, Status};

const MS: Duration = Duration::from_millis(1);

const SOUND: Manner = Manner { takes: MS, fails: false, is_away: false };
const FAILING: Manner = Manner { takes: MS, fails: true, is_away: false };

fn policies(breaker: Breaker) -> Policies {
    Policies { breaker: Some(breaker), ..Policies::new(SOON) }
}

/// A client of all houses of a town.
fn client_of(town: &Town, breaker: Breaker) -> Client {
    Client::with_policies("probe", town.carrier(&town.addresses()).0, policies(breaker), LIMITS)
}

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

fn is_held_back(outcome: &Result<(), Status>) -> bool {
    outcome.as_ref().is_err_and(|status| proof_not_sent(status) == Some(NotSent::HeldBack))
}

/// A callee that does as it is told, and the number of calls that came to it.
fn callee<F>(
    does: impl Fn(u32) -> F + Clone + Send + Sync + 'static,
    policies: Policies,
) -> (Client, Arc<AtomicU32>)
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (carrier, calls) = counted(move |number| does(number).map(|outcome| outcome.map(|()| answer())));
    (Client::with_policies("probe", carrier, policies, LIMITS), calls)
}

/// A call by a caller that waits no longer than that.
async fn call_within(client: &Client, deadline: Duration) -> Result<(), Status> {
    let mut request = tonic::Request::new(ProcessNameRequest::default());
    request.set_timeout(deadline);
    client.exchange::<ProcessName>(request).await.map(drop)
}

#[test]
fn a_service_all_of_whose_addresses_fail_gets_a_call_now_and_then_and_callers_are_told_at_once() {
    run_in_no_time(async {
        let town = Town::of(&[FAILING; 3]);
        let client = client_of(&town, Breaker::InARow(5));
        let mut held_back = 0;
        for _ in 0..1000 {
            let began = Instant::now();
            let outcome = act(&client).await;
            if is_held_back(&outcome) {
                held_back += 1;
                assert_eq!(began.elapsed(), Duration::ZERO);
                let status = outcome.expect_err("it is held back");
                assert_eq!(status.code(), Code::Unavailable);
                assert!(status.message().contains("breaker of its policy"), "{status}");
            }
            sleep(MS * 10).await;
        }
        let calls: usize = town.calls().iter().sum();
        assert!(
            (7..=8).contains(&calls),
            "five, and probes after a second, two more, and four more: {calls}"
        );
        assert_eq!(held_back + calls, 1000);
    });
}

#[test]
fn a_service_that_is_back_has_all_its_calls_again_within_twelve_seconds() {
    run_in_no_time(async {
        let town = Town::of(&[FAILING; 2]);
        let client = client_of(&town, Breaker::Percent(50));
        let calls = async |count: u32| {
            for _ in 0..count {
                act(&client).await.ok();
                sleep(MS * 100).await;
            }
        };
        calls(1000).await;
        assert!(is_held_back(&act(&client).await));
        town.0.iter().for_each(|house| house.is(SOUND));
        calls(120).await;
        for _ in 0..100 {
            act(&client).await.expect("it answers, and is called");
        }
    });
}

#[test]
fn what_a_service_says_in_the_line_of_its_work_or_for_want_of_room_is_no_failure() {
    run_in_no_time(async {
        for code in (1..=16).map(Code::from_i32) {
            let (client, calls) =
                callee(move |_| ready(Err(Status::new(code, "told so"))), policies(Breaker::InARow(3)));
            for _ in 0..10 {
                let mut once = tonic::Request::new(ActRequest::default());
                once.set_timeout(SOON);
                client.exchange::<Act>(once).await.expect_err("it is told to fail");
            }
            let is_failure =
                [Code::Unavailable, Code::Internal, Code::Unknown, Code::DataLoss, Code::DeadlineExceeded];
            let expected = if is_failure.contains(&code) { 3 } else { 10 };
            assert_eq!(calls.load(Ordering::Relaxed), expected, "{code:?}");
        }
    });
}

#[test]
fn a_slow_service_is_not_left_alone_for_what_is_normal_and_one_that_hangs_is() {
    run_in_no_time(async {
        let hangs = Arc::new(AtomicU32::new(0));
        let does = Arc::clone(&hangs);
        let slow = move |_| {
            let takes = if does.load(Ordering::Relaxed) == 0 { MS * 100 } else { SOON * 2 };
            sleep(takes).map(Ok)
        };
        let (client, calls) = callee(slow, policies(Breaker::InARow(3)));
        idempotent(&client).await.expect("it is slow, and works");
        for _ in 0..20 {
            call_within(&client, MS * 50).await.expect_err("it is slower than that");
        }
        idempotent(&client).await.expect("it was not left alone for that");
        hangs.store(1, Ordering::Relaxed);
        for _ in 0..20 {
            call_within(&client, MS * 200).await.expect_err("it hangs");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 25);
    });
}

/// A client whose callee fails once, and then does that; its breaker has just opened.
async fn open<F>(then: impl Fn() -> F + Clone + Send + Sync + 'static) -> (Client, Arc<AtomicU32>)
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let does = move |number| -> BoxFuture<'static, Result<(), Status>> {
        if number == 0 { ready(Err(Status::internal("told so"))).boxed() } else { then().boxed() }
    };
    let (client, calls) = callee(does, policies(Breaker::InARow(1)));
    idempotent(&client).await.expect_err("it fails");
    assert!(is_held_back(&idempotent(&client).await));
    (client, calls)
}

#[test]
fn a_probe_is_tried_once_and_alone() {
    run_in_no_time(async {
        let (client, calls) = open(|| sleep(MS * 10).map(|()| Err(Status::unavailable("told so")))).await;
        sleep(MS * 1200).await;
        let (probe, other) = tokio::join!(idempotent(&client), idempotent(&client));
        assert_eq!(probe.expect_err("it fails").message(), "told so");
        assert!(is_held_back(&other), "{other:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 2, "an idempotent call is repeated, and a probe is not");
        sleep(MS * 1500).await;
        assert!(is_held_back(&idempotent(&client).await), "the second wait is twice as long");
    });
}

#[test]
fn a_probe_whose_caller_leaves_makes_the_next_call_one() {
    run_in_no_time(async {
        let (client, calls) = open(pending).await;
        sleep(MS * 1200).await;
        for probes in 2..10 {
            let mut probe = Box::pin(idempotent(&client));
            assert!(probe.as_mut().now_or_never().is_none(), "it is out");
            assert!(is_held_back(&idempotent(&client).await));
            assert_eq!(calls.load(Ordering::Relaxed), probes);
        }
    });
}

#[test]
fn a_probe_that_runs_into_its_deadline_has_failed() {
    run_in_no_time(async {
        let (client, _) = open(pending).await;
        sleep(MS * 1200).await;
        let late = call_within(&client, MS * 100).await.expect_err("it hangs");
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert!(is_held_back(&idempotent(&client).await));
    });
}

#[test]
fn a_service_works_whose_second_attempt_does() {
    run_in_no_time(async {
        let does = |number: u32| {
            ready(if number.is_multiple_of(2) { Err(Status::unavailable("told so")) } else { Ok(()) })
        };
        let mut policies = policies(Breaker::InARow(1));
        policies.budget.tokens = 1000;
        let (client, _) = callee(does, policies);
        for _ in 0..100 {
            idempotent(&client).await.expect("its second attempt works");
        }
    });
}

#[test]
fn operators_see_how_a_breaker_stands() {
    run_in_no_time(async {
        let (client, _) = open(|| sleep(MS * 10).map(Ok)).await;
        let gauges = Gauges::new();
        client.watch(&gauges);
        let stands = |state| gauges.read().count(Gauge::CalleeBreakers, "probe", state) == 1;
        assert!(stands("open"));
        sleep(MS * 1200).await;
        let mut probe = Box::pin(idempotent(&client));
        assert!(probe.as_mut().now_or_never().is_none() && stands("probing"));
        probe.await.expect("it works again");
        assert!(stands("closed"));
    });
}

#[test]
fn calls_that_are_refused_unread_show_nothing_of_the_service() {
    run_in_no_time(async {
        let refuses = |_| ready(Err(not_sent(NotSent::Refused, "it drains")));
        let (client, calls) = callee(refuses, policies(Breaker::InARow(2)));
        for _ in 0..6 {
            assert!(!is_held_back(&idempotent(&client).await));
        }
        assert!(calls.load(Ordering::Relaxed) >= 6);
    });
}
