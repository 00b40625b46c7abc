//! Slow calls that are made a second time beside the first: which are, what that costs, and which answer counts.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::callee::{Callee, Say};
use common::carrier::{answer, code, counted, idempotent};
use common::ways::Ways;
use common::{LIMITS, SOON, client_with, run, run_in_no_time};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::time::{Instant, sleep, timeout};
use tower::Service;
use transport::channel::{Request, Response};
use transport::grpc::{Grpc, Keepalive};
use transport::policy::Policies;
use transport::{Client, Code, Net, Status};

fn hedging() -> Policies {
    let mut policies = Policies::new(SOON);
    Arc::make_mut(&mut policies.service).hedge = true;
    policies
}

/// A carrier whose first calls are answered after 10 ms, and each after them in so many as `later` says, with what it says;
/// how many it had.
fn taking(
    quick: u32,
    later: impl Fn(u32) -> (u64, Result<Response, Status>) + Clone + Send + Sync + 'static,
) -> (
    impl Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + 'static,
    Arc<AtomicU32>,
) {
    counted(move |number| {
        let (ms, ends) = number.checked_sub(quick).map_or_else(|| (10, Ok(answer())), &later);
        sleep(Duration::from_millis(ms)).map(|()| ends)
    })
}

#[test]
fn a_slow_call_is_hedged_at_another_endpoint_and_the_loser_is_cancelled() {
    const TAKES: Duration = Duration::from_millis(10);
    run_in_no_time(async {
        let is_slow = Rc::new(Cell::new(false));
        let says = Rc::clone(&is_slow);
        let slow = move |_| if says.get() { Say::Nothing } else { Say::Yes };
        let (slow, to_slow) = Callee::in_memory(1, TAKES, slow);
        let (other, to_other) = Callee::in_memory(2, TAKES, |_| Say::Yes);
        let addresses = [&to_slow, &to_other].map(|(address, _)| address.clone());
        let net: Arc<dyn Net> = Arc::new(Ways(vec![to_slow, to_other]));
        let carrier = Grpc::new("probe", &addresses, &net, Keepalive::default(), LIMITS.message_size);
        let client = Client::with_policies("probe", carrier, hedging(), LIMITS);
        for call in 0..40 {
            is_slow.set(call >= 20);
            idempotent(&client).await.expect("one of them answers");
        }
        timeout(SOON, slow.left.notified()).await.expect("the call that lost is cancelled");
        assert!(other.header("grpc-previous-rpc-attempts").contains(&"1".to_owned()), "{:?}", other.seen);
    });
}

#[test]
fn a_slow_call_to_the_only_address_is_not_hedged() {
    run(async {
        let callee = Callee::start(|call| if call < 30 { Say::Yes } else { Say::Nothing }).await;
        let mut policies = hedging();
        Arc::make_mut(&mut policies.service).deadline = Duration::from_millis(200);
        let client = client_with(&[&callee.uri], policies);
        for _ in 0..30 {
            idempotent(&client).await.expect("it answers");
        }
        assert_eq!(code(idempotent(&client).await), Code::DeadlineExceeded);
        assert_eq!(callee.count(), 31);
    });
}

#[test]
fn a_slow_call_goes_out_once_unless_it_is_idempotent_and_its_policy_hedges() {
    run_in_no_time(async {
        for hedges in [false, true] {
            let (carrier, calls) = taking(20, |_| (1000, Ok(answer())));
            let policies = if hedges { hedging() } else { Policies::new(SOON) };
            let client = Client::with_policies("probe", carrier, policies, LIMITS);
            for _ in 0..21 {
                // What it is answered is of another contract, and of no matter.
                match hedges {
                    true => drop(client.call::<Act>(ActRequest::default()).await),
                    false => idempotent(&client).await.expect("it is answered"),
                }
            }
            assert_eq!(calls.load(Ordering::Relaxed), 21);
        }
    });
}

#[test]
fn the_first_answer_to_a_hedged_call_counts_though_it_is_an_error() {
    run_in_no_time(async {
        for ms in [[50, 4000], [4000, 1]] {
            let missing = move |number| (ms[number as usize], Err(Status::not_found("gone")));
            let (carrier, calls) = taking(20, missing);
            let client = Client::with_policies("probe", carrier, hedging(), LIMITS);
            for _ in 0..20 {
                idempotent(&client).await.expect("it is quick");
            }
            let started = Instant::now();
            assert_eq!(code(idempotent(&client).await), Code::NotFound);
            assert_eq!(calls.load(Ordering::Relaxed), 22, "it was hedged");
            assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
        }
    });
}

#[test]
fn a_hedge_that_fails_costs_a_token_more() {
    run_in_no_time(async {
        // The hedge fails, which is the second of its call, and the others work.
        let second =
            |number| if number == 1 { (1, Err(Status::unavailable(""))) } else { (40, Ok(answer())) };
        let (carrier, calls) = taking(60, second);
        let mut policies = hedging();
        (policies.budget.tokens, policies.budget.ratio) = (6, 0);
        let client = Client::with_policies("probe", carrier, policies, LIMITS);
        for _ in 0..63 {
            idempotent(&client).await.expect("the first of its attempts works");
        }
        assert_eq!(
            calls.load(Ordering::Relaxed),
            64,
            "two of six tokens are gone, and four are needed for another"
        );
    });
}

#[test]
fn hedges_are_paid_for_by_calls_that_work() {
    run_in_no_time(async {
        let (carrier, calls) = taking(20, |_| (10_000, Ok(answer())));
        let client = Client::with_policies("probe", carrier, hedging(), LIMITS);
        for _ in 0..20 {
            idempotent(&client).await.expect("it is quick");
        }
        let slow = join_all((0..50).map(|_| idempotent(&client))).await;
        assert!(slow.into_iter().all(|answer| code(answer) == Code::DeadlineExceeded));
        assert_eq!(calls.load(Ordering::Relaxed), 76, "of 10 tokens 4 are above half, and 20 calls added 2");
    });
}

#[test]
fn a_hedge_that_fails_does_not_end_the_call_and_neither_does_a_call_that_its_hedge_outlives() {
    run_in_no_time(async {
        // Attempts from the 40th on, in pairs: what each takes and comes to.
        let script = [(50, true), (1, false), (50, false), (100, true), (50, false), (1, false), (1, true)];
        let (carrier, calls) = taking(40, move |number| {
            let (ms, works) = script[number as usize];
            (ms, if works { Ok(answer()) } else { Err(Status::unavailable("not now")) })
        });
        let mut policies = hedging();
        policies.budget.tokens = 1000;
        let client = Client::with_policies("probe", carrier, policies, LIMITS);
        for _ in 0..43 {
            idempotent(&client).await.expect("one of its attempts works");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 47, "where both have failed there is a third");
    });
}
