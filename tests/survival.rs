//! What becomes of calls whose callee fails, pushes back, is slow or overloaded: they are repeated and hedged as their
//! policy says, never more than its budget pays for, and never where that could do harm.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::callee::{Callee, Say};
use common::carrier::{code, counted, idempotent};
use common::request::ActTwice;
use common::{LIMITS, SOON, client_of, client_with, machine, run, run_in_no_time, service};
use futures_util::future::{join_all, pending, ready};
use futures_util::{FutureExt as _, StreamExt as _};
use node::machine::Listener as _;
use probe_contract::probe::{self, Act, Count};
use probe_contract::{ActRequest, CountRequest, Deed};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use transport::channel::Response;
use transport::grpc::Keepalive;
use transport::payload::Payload;
use transport::policy::{MaxInFlight, Policies, Policy};
use transport::status::{NotSent, not_sent};
use transport::{Client, Code, ServiceClient as _, Status};

fn policies(change: impl FnOnce(&mut Policy)) -> Policies {
    let mut policies = Policies::new(SOON);
    change(Arc::make_mut(&mut policies.service));
    policies
}

/// With a backoff that no test has to wait for.
fn quick() -> Policies {
    policies(|policy| policy.backoff = Duration::from_millis(1))
}

async fn not_idempotent(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

#[test]
fn an_idempotent_call_survives_the_loss_of_one_of_two_replicas() {
    run(async {
        let (dies, lives) = (Callee::start(|_| Say::HangsUp).await, Callee::start(|_| Say::Yes).await);
        let client = client_with(&[&dies.uri, &lives.uri], quick());
        idempotent(&client).await.expect("the other one answers");
        idempotent(&client).await.expect("the other one answers");
        assert!(dies.count() > 0, "it was called, too");
        drop(dies);
        for _ in 0..20 {
            idempotent(&client).await.expect("the other one answers");
        }
    });
}

#[test]
fn a_call_that_is_not_idempotent_is_repeated_only_with_the_proof_that_nobody_has_handled_it() {
    run(async {
        for (say, expected, times) in [
            (Say::HangsUp, Code::Unavailable, 1),
            (Say::No(Code::Unavailable, None), Code::Unavailable, 1),
            // Each attempt is sent once more by itself.
            (Say::Refused, Code::Unavailable, 6),
        ] {
            let callee = Callee::start(move |_| say).await;
            let client = client_with(&[&callee.uri], quick());
            assert_eq!((code(not_idempotent(&client).await), callee.count()), (expected, times), "{say:?}");
        }
        let callee = Callee::start(|call| if call < 4 { Say::Refused } else { Say::Yes }).await;
        not_idempotent(&client_with(&[&callee.uri], quick())).await.expect("the third attempt is read");
    });
}

#[test]
fn only_codes_that_the_policy_names_are_repeated() {
    run(async {
        for (said, times) in [(Code::Unavailable, 3), (Code::Internal, 1), (Code::ResourceExhausted, 1)] {
            let callee = Callee::start(move |_| Say::No(said, None)).await;
            let client = client_with(&[&callee.uri], quick());
            assert_eq!((code(idempotent(&client).await), callee.count()), (said, times));
        }
    });
}

#[test]
fn a_callee_that_always_fails_is_called_hardly_more_often_than_its_callers_call() {
    run(async {
        let callee = Callee::start(|_| Say::No(Code::Unavailable, None)).await;
        let client = client_with(&[&callee.uri], quick());
        for _ in 0..100 {
            assert_eq!(code(idempotent(&client).await), Code::Unavailable);
        }
        // The first call takes three tokens of ten for two attempts more, the second one one more.
        assert_eq!(callee.count(), 103);
    });
}

#[test]
fn calls_that_fail_together_share_the_budget_before_any_of_them_waits() {
    run(async {
        let callee = Callee::start(|_| Say::No(Code::Unavailable, None)).await;
        let client = client_with(&[&callee.uri], quick());
        join_all((0..100).map(|_| idempotent(&client))).await;
        assert_eq!(callee.count(), 104, "4 of 10 tokens are above half");
    });
}

#[test]
fn the_first_calls_of_a_client_wait_for_others_to_earn_what_their_second_attempts_cost() {
    run(async {
        let refuses = Callee::start(|_| Say::No(Code::Unavailable, None)).await;
        let answers = Callee::start(|_| Say::Yes).await;
        let client = client_with(&[&refuses.uri, &answers.uri], policies(|_| ()));
        let caller = async || {
            for _ in 0..100 {
                idempotent(&client).await.expect("the other one answers");
            }
        };
        join_all((0..16).map(|_| caller())).await;
        assert!(refuses.count() > 4, "more failed than the tokens of the beginning pay for");
    });
}

#[test]
fn a_callee_that_pushes_back_is_called_again_when_it_says_or_not_at_all() {
    run(async {
        for (pushback, times) in [("120", 3), ("-1", 1), ("soon", 1)] {
            let callee = Callee::start(move |_| Say::No(Code::Unavailable, Some(pushback))).await;
            let client = client_with(&[&callee.uri], quick());
            assert_eq!(code(idempotent(&client).await), Code::Unavailable);
            assert_eq!(callee.count(), times, "{pushback}");
            let seen = callee.seen.borrow();
            let waits = seen.windows(2).map(|pair| pair[1].at - pair[0].at);
            assert!(waits.into_iter().all(|wait| wait >= Duration::from_millis(120)), "{pushback}");
        }
    });
}

#[test]
fn a_callee_is_told_which_attempt_it_is_and_whether_there_may_be_others() {
    run(async {
        let callee = Callee::start(|call| if call < 2 { Say::HangsUp } else { Say::Yes }).await;
        let client = client_with(&[&callee.uri], quick());
        idempotent(&client).await.expect("the third attempt works");
        not_idempotent(&client).await.expect("it works at once");
        assert_eq!(callee.header("grpc-previous-rpc-attempts"), ["", "1", "2", ""]);
        assert_eq!(callee.header("x-caller-repeats"), ["1", "1", "1", ""]);
    });
}

#[test]
fn a_streamed_answer_that_has_begun_is_not_asked_for_again() {
    run(async {
        let says = |call| if call == 0 { Say::HangsUp } else { Say::Breaks(Code::Unavailable) };
        let callee = Callee::start(says).await;
        let client = client_with(&[&callee.uri], quick());
        let mut answer = client.call::<Count>(CountRequest::default()).await.expect("its head comes");
        let error = answer.next().await.expect("an item").expect_err("it breaks off");
        assert_eq!((error.code(), callee.count()), (Code::Unavailable, 2));
    });
}

#[test]
fn a_backoff_never_passes_the_deadline_and_the_real_error_comes_at_once() {
    run_in_no_time(async {
        let (carrier, calls) = counted(|_| ready(Err(Status::unavailable("really"))));
        let slow = policies(|policy| {
            policy.deadline = Duration::from_millis(200);
            policy.backoff = Duration::from_millis(100);
        });
        let client = Client::with_policies("probe", carrier, slow, LIMITS);
        let started = Instant::now();
        let error = idempotent(&client).await.expect_err("it never works");
        // The first wait is 80 to 120 ms, the second would be 160 to 240.
        assert_eq!((error.code(), error.message()), (Code::Unavailable, "really"));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert!(started.elapsed() <= Duration::from_millis(121), "{:?}", started.elapsed());
    });
}

#[test]
fn waits_double_up_to_the_longest_and_are_spread_by_a_fifth() {
    run_in_no_time(async {
        let (carrier, _) = counted(|_| ready(Err(Status::unavailable(""))));
        let mut patient = policies(|policy| {
            (policy.attempts, policy.deadline) = (4, Duration::from_secs(60));
            (policy.backoff, policy.backoff_max) = (Duration::from_secs(1), Duration::from_secs(2));
        });
        patient.budget.tokens = 1000;
        let client = Client::with_policies("probe", carrier, patient, LIMITS);
        let mut totals = Vec::new();
        for _ in 0..20 {
            let started = Instant::now();
            idempotent(&client).await.expect_err("it never works");
            totals.push(started.elapsed());
        }
        // One second, two, and two, each within a fifth.
        assert!(totals.iter().all(|total| (4000..=6003).contains(&total.as_millis())), "{totals:?}");
        totals.dedup();
        assert!(totals.len() > 1, "all waits are the same: {totals:?}");
    });
}

#[test]
fn as_many_attempts_are_made_as_the_policy_says() {
    run_in_no_time(async {
        for attempts in 1..=4 {
            let (carrier, calls) = counted(|_| ready(Err(Status::unavailable(""))));
            let mut so_many = policies(|policy| policy.attempts = attempts);
            so_many.budget.tokens = 1000;
            let client = Client::with_policies("probe", carrier, so_many, LIMITS);
            assert_eq!(code(idempotent(&client).await), Code::Unavailable);
            assert_eq!(calls.load(Ordering::Relaxed), attempts);
        }
    });
}

#[test]
fn more_calls_than_may_be_in_flight_are_refused_at_once_by_name() {
    run(async {
        let callee = Callee::start(|_| Say::Nothing).await;
        let client =
            client_with(&[&callee.uri], Policies { max_in_flight: Some(MaxInFlight::Calls(2)), ..quick() });
        {
            let held = [idempotent(&client), idempotent(&client)];
            let mut held = Box::pin(join_all(held));
            assert!(held.as_mut().now_or_never().is_none());
            let error = idempotent(&client).await.expect_err("it is one too many");
            assert_eq!(error.code(), Code::ResourceExhausted);
            assert!(error.message().contains("2 calls to probe are in flight"), "{error}");
        }
        assert!(idempotent(&client).now_or_never().is_none(), "callers that have left make room");
    });
}

#[test]
fn a_streamed_answer_is_in_flight_until_it_has_ended() {
    run_in_no_time(async {
        let (carrier, _) = counted(|_| {
            let body = Payload::Stream(futures_util::stream::pending().boxed());
            ready(Ok(Response { metadata: MetadataMap::new(), body }))
        });
        let one = Policies { max_in_flight: Some(MaxInFlight::Calls(1)), ..quick() };
        let client = Client::with_policies("probe", carrier, one, LIMITS);
        let ask = || client.call::<Count>(CountRequest::default());
        let answer = ask().await.expect("it begins");
        assert_eq!(ask().await.expect_err("it is one too many").code(), Code::ResourceExhausted);
        drop(answer);
        ask().await.expect("there is room again");
    });
}

/// How often a handler calls a callee that never takes a call, when it is itself called by `client` of it.
async fn calls_inside(client: impl FnOnce(&str) -> Client) -> u32 {
    let (carrier, calls) = counted(|_| ready(Err(not_sent(NotSent::Refused, "never"))));
    let inner = probe::Client::new(Client::with_policies("probe", carrier, quick(), LIMITS));
    let socket = machine::socket("127.0.0.1:0").await;
    let address = socket.address().to_string();
    let (service, _events, _) = service(&inner);
    tokio::task::spawn_local(machine::serve(socket, service, pending()));
    let relay = ActRequest { deed: Deed::Relay.into(), ..Default::default() };
    let answer = client(&format!("http://{address}")).call::<ActTwice>(relay).await;
    assert_eq!(answer.expect_err("its handler fails").code(), Code::Unavailable);
    calls.load(Ordering::Relaxed)
}

#[test]
fn only_the_outermost_caller_repeats() {
    run(async {
        let foreign = |uri: &str| client_of(&[uri.to_owned()], Keepalive::default());
        assert_eq!(calls_inside(foreign).await, 3, "who is called once repeats its own calls");
        let repeating = |uri: &str| client_with(&[uri], quick());
        assert_eq!(calls_inside(repeating).await, 3, "three attempts outside, of one call each");
    });
}
