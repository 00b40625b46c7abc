//! A callee that says whether it serves, to callers that ask (gRFC A17): it gets calls while it says so, and no others.

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::log::Log;
use common::request::act_request;
use common::watched::{Callee, Says, carrier};
use common::{LIMITS, SOON, run_in_no_time};
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::time::{Instant, sleep, timeout};
use transport::channel::Request;
use transport::gauges::Gauge;
use transport::grpc::Keepalive;
use transport::status::{self, NotSent};
use transport::{Client, Code, Gauges, Status};

const MS: Duration = Duration::from_millis(1);

fn client(callees: &[&Rc<Callee>]) -> (Client, Gauges) {
    let (carrier, gauges) = carrier(callees);
    (Client::new(carrier, SOON * 12, LIMITS), gauges)
}

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

async fn calls(client: &Client, count: usize) {
    for _ in 0..count {
        act(client).await.expect("somebody serves");
    }
}

/// A call that waits where nobody serves.
fn waiting() -> Request {
    Request { wait_for_ready: true, ..act_request() }
}

#[test]
fn who_says_that_it_does_not_serve_gets_no_calls_until_it_says_that_it_does() {
    run_in_no_time(async {
        let (sick, sound) = (Callee::start(1, Says::NotServing, 100), Callee::start(2, Says::Serving, 100));
        let (client, gauges) = client(&[&sick, &sound]);
        calls(&client, 20).await;
        assert_eq!((sick.calls(), sound.calls()), (0, 20));
        let stand = |state| gauges.read().count(Gauge::CalleeAddresses, "probe", state);
        assert_eq!((stand("not serving"), stand("ready")), (1, 1));
        sick.is(Says::Serving);
        sleep(MS).await;
        calls(&client, 20).await;
        assert!(sick.calls() > 5 && sound.calls() > 5, "both share the calls");
        sound.is(Says::NotServing);
        sleep(MS).await;
        calls(&client, 20).await;
        assert_eq!((sick.calls(), sound.calls()), (20, 0));
        assert_eq!((sick.made.get(), sound.made.get()), (1, 1), "their connections stay");
    });
}

#[test]
fn where_nobody_serves_a_call_fails_at_once_with_the_proof_that_it_was_not_sent() {
    run_in_no_time(async {
        let sick = [Callee::start(1, Says::NotServing, 100), Callee::start(2, Says::NotServing, 100)];
        let (client, _) = client(&[&sick[0], &sick[1]]);
        for _ in 0..3 {
            let begun = Instant::now();
            let error = act(&client).await.expect_err("nobody serves");
            assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
            assert_eq!((error.code(), error.message()), (Code::Unavailable, "probe does not serve"));
            assert!(begun.elapsed() <= MS * 2, "{:?}", begun.elapsed());
        }
        assert_eq!(sick.map(|sick| sick.made.get()), [1, 1]);
    });
}

#[test]
fn a_call_that_waits_goes_as_soon_as_somebody_serves() {
    run_in_no_time(async {
        let sick = Callee::start(1, Says::NotServing, 100);
        let (mut carrier, gauges) = carrier(&[&sick]);
        let call = tokio::task::spawn_local(tower::Service::call(&mut carrier, waiting()));
        sleep(SOON).await;
        assert!(!call.is_finished() && gauges.read().sum(Gauge::CalleeCallsWaiting) == 1);
        sick.is(Says::Serving);
        let begun = Instant::now();
        let answer = timeout(SOON, call).await.expect("it is told").expect("no panic");
        answer.expect("it serves");
        assert!(begun.elapsed() <= MS * 2, "it is told, and does not look now and then");
    });
}

#[test]
fn who_does_not_know_of_health_is_taken_to_serve_and_asked_once() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::Fails(Code::Unimplemented), 100);
        let (client, _) = client(&[&callee]);
        calls(&client, 20).await;
        sleep(SOON * 60).await;
        calls(&client, 20).await;
        assert_eq!((callee.calls(), callee.asked.borrow().len()), (40, 1));
    });
}

#[test]
fn who_never_says_whether_it_serves_costs_the_time_of_a_greeting_and_is_asked_again_less_and_less_often() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::Nothing, 100);
        let (client, _) = client(&[&callee]);
        let begun = Instant::now();
        let error = act(&client).await.expect_err("it is not known to serve");
        assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
        let (took, greeting) = (begun.elapsed(), Keepalive::default().greeting);
        assert!((greeting..greeting + MS * 10).contains(&took), "{took:?}");
        assert!(act(&client).await.is_err() && begun.elapsed() < took + MS, "the next one fails at once");
        sleep(Duration::from_secs(3600)).await;
        let asked = callee.asked.borrow().len();
        assert!((20..60).contains(&asked), "{asked} times in an hour: two minutes apart in the end");
        assert!(callee.made.get() == 1 && callee.told.get() <= 1, "what was given up has ended");
        callee.is(Says::Serving);
        sleep(Duration::from_secs(150)).await;
        calls(&client, 1).await;
    });
}

#[test]
fn who_stops_saying_so_is_taken_not_to_serve_and_asked_again_as_backoff_has_it() {
    for says in [Says::Fails(Code::Internal), Says::HangsUp, Says::ServingOnce] {
        run_in_no_time(async {
            let callee = Callee::start(1, Says::Serving, 100);
            let (client, _) = client(&[&callee]);
            calls(&client, 1).await;
            // Not the connection, but the stream is broken off.
            callee.is(says);
            sleep(MS).await;
            act(&client).await.expect_err("it is not known to serve");
            sleep(Duration::from_secs(600)).await;
            let asked = callee.asked.borrow().len();
            assert!(asked < 20, "{says:?}: {asked} times in ten minutes");
            callee.is(Says::Serving);
            sleep(Duration::from_secs(150)).await;
            calls(&client, 1).await;
        });
    }
}

#[test]
fn who_hangs_up_in_place_of_saying_whether_it_serves_is_left_alone_as_who_cannot_be_connected_to() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::HangsUp, 100);
        let (client, gauges) = client(&[&callee]);
        for _ in 0..20 {
            act(&client).await.expect_err("it hangs up");
        }
        assert_eq!(callee.made.get(), 1);
        assert_eq!(gauges.read().count(Gauge::CalleeAddresses, "probe", "backoff"), 1);
    });
}

/// What was logged of whether callees serve.
fn told(log: &Log) -> Vec<String> {
    let texts = log.lines().into_iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned());
    texts.filter(|text| text.contains("serv")).collect()
}

#[test]
fn each_change_of_what_a_callee_says_is_logged_once_and_not_that_it_serves_from_the_first() {
    run_in_no_time(async {
        let (log, callee) = (Log::start(), Callee::start(1, Says::Serving, 100));
        let (client, _) = client(&[&callee]);
        calls(&client, 1).await;
        assert_eq!(told(&log), [""; 0]);
        for (says, expected) in [
            (Says::NotServing, &["not serving, as it says"][..]),
            (Says::NotServing, &[]),
            (Says::Serving, &["serving again, as it says"]),
            (Says::Serving, &[]),
            (Says::Fails(Code::Internal), &["taken not to serve: it does not say so"]),
        ] {
            callee.is(says);
            sleep(MS).await;
            assert_eq!(told(&log), expected, "{says:?}");
        }
    });
}

#[test]
fn of_a_callee_that_changes_its_mind_without_end_ten_changes_a_second_are_heard_and_then_the_last() {
    run_in_no_time(async {
        let (log, callee) = (Log::start(), Callee::start(1, Says::Serving, 100));
        let (client, _) = client(&[&callee]);
        calls(&client, 1).await;
        for _ in 0..1000 {
            callee.is(Says::NotServing);
            sleep(MS).await;
            callee.is(Says::Serving);
            sleep(MS).await;
        }
        let lines = told(&log).len();
        assert!((10..=31).contains(&lines), "{lines} lines in two seconds");
        callee.is(Says::NotServing);
        sleep(MS * 1001).await;
        act(&client).await.expect_err("that was its last word");
    });
}

#[test]
fn a_callee_that_does_not_serve_from_the_first_is_logged_and_that_it_says_no_more_is_not() {
    run_in_no_time(async {
        let (log, callee) = (Log::start(), Callee::start(1, Says::NotServing, 100));
        let (client, _) = client(&[&callee]);
        act(&client).await.expect_err("it does not serve");
        assert_eq!(told(&log), ["not serving, as it says"]);
        callee.is(Says::HangsUp);
        sleep(MS).await;
        assert_eq!(told(&log), [""; 0]);
    });
}

#[test]
fn it_is_logged_that_a_callee_does_not_say_whether_it_serves_and_when_it_is_asked_again() {
    run_in_no_time(async {
        let (log, callee) = (Log::start(), Callee::start(1, Says::Fails(Code::Internal), 100));
        let (client, _) = client(&[&callee]);
        act(&client).await.expect_err("it is not known to serve");
        // Give or take a fifth.
        for expected in [800.0..=1200.0, 1280.0..=1920.0] {
            let waits: Vec<_> =
                log.lines().iter().filter_map(|line| line["asked_again_in_ms"].as_f64()).collect();
            assert!(waits.len() == 1 && expected.contains(&waits[0]), "{waits:?} ms");
            sleep(MS * 1250).await;
        }
    });
}

#[test]
fn asking_counts_as_no_call_and_ends_with_its_carrier() {
    run_in_no_time(async {
        let callee = Callee::start(1, Says::Serving, 100);
        let (client, gauges) = client(&[&callee]);
        calls(&client, 5).await;
        sleep(SOON).await;
        let count = |gauge| gauges.read().sum(gauge);
        assert_eq!([Gauge::CalleeCallsInFlight, Gauge::CalleeCallsWaiting].map(count), [0, 0]);
        assert_eq!((count(Gauge::CalleeConnectionsOpen), callee.told.get()), (1, 1));
        drop(client);
        sleep(MS).await;
        assert_eq!(callee.told.get(), 0, "the stream has ended");
    });
}

#[test]
fn a_connection_that_carries_one_stream_is_left_to_calls() {
    run_in_no_time(async {
        for (streams_max, asked) in [(1, 0), (2, 1)] {
            let callee = Callee::start(1, Says::Serving, streams_max);
            let (client, _) = client(&[&callee]);
            calls(&client, 5).await;
            assert_eq!((callee.calls(), callee.asked.borrow().len()), (5, asked));
        }
    });
}
