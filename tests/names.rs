//! What becomes of calls when the name of a service leads elsewhere.

mod common;
mod town;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::log::Log;
use common::request::act_request;
use common::run_in_no_time;
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::time::{Instant, sleep, timeout};
use town::{Manner, Town};
use transport::channel::Request;
use transport::gauges::Gauge;
use transport::status::{self, NotSent};
use transport::{Client, Status};

const MS: Duration = Duration::from_millis(1);

/// Longer than it may take until a name is asked again.
const ASKED_WITHIN: Duration = Duration::from_millis(12_100);

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

/// Calls again and again for so long, one call after the other; none of them may fail.
async fn call_for(client: &Client, time: Duration) {
    let gap = MS * 50;
    for _ in 0..time.as_millis() / gap.as_millis() {
        act(client).await.expect("an address that was good is there");
        sleep(gap).await;
    }
}

fn town(houses: usize) -> Town {
    Town::of(&vec![Manner { takes: MS, fails: false, is_away: false }; houses])
}

#[test]
fn a_name_leads_to_all_its_addresses_and_is_asked_every_ten_seconds_while_calls_come() {
    run_in_no_time(async {
        let town = town(3);
        town.name_leads_to(Some(&[0, 1, 2]));
        let (client, _) = town.client_by_name();
        call_for(&client, Duration::from_secs(60)).await;
        assert!((5..=9).contains(&town.asked()), "some six times a minute");
        let shares = town.calls();
        assert!(shares.iter().all(|share| *share > 200), "{shares:?}");
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(town.asked(), 0, "nobody calls");
    });
}

#[test]
fn an_address_that_vanishes_takes_no_new_call_and_ends_with_its_last() {
    run_in_no_time(async {
        let town = town(3);
        town.name_leads_to(Some(&[0, 1]));
        let (client, gauges) = town.client_by_name();
        call_for(&client, MS * 200).await;
        // Two calls that take long: one for each address.
        for house in &town.0[..2] {
            house.is(Manner { takes: Duration::from_secs(30), ..Manner::default() });
        }
        let long: Vec<_> = (0..2)
            .map(|_| {
                let client = client.clone();
                tokio::task::spawn_local(async move {
                    let mut request = tonic::Request::new(ActRequest::default());
                    request.set_timeout(Duration::from_secs(60));
                    client.exchange::<Act>(request).await.map(drop)
                })
            })
            .collect();
        sleep(MS * 10).await;
        for house in &town.0[..2] {
            house.is(Manner { takes: MS, ..Manner::default() });
        }
        town.name_leads_to(Some(&[1, 2]));
        call_for(&client, ASKED_WITHIN).await;
        town.calls();
        call_for(&client, Duration::from_secs(10)).await;
        let shares = town.calls();
        // The second has a call that takes long, so that it may well have fewer.
        assert!(shares[0] == 0 && shares[2] > 50, "{shares:?}");
        let open = || town.0[0].open.load(Ordering::Relaxed);
        assert_eq!(open(), 1, "its call is under way");
        for call in long {
            call.await
                .expect("no panic")
                .unwrap_or_else(|error| assert_ne!(error.code(), transport::Code::Unavailable));
        }
        sleep(Duration::from_secs(2)).await;
        assert_eq!(open(), 0, "nobody uses it");
        assert_eq!(gauges.read().sum(Gauge::CalleeConnectionsOpen), 2);
    });
}

#[test]
fn an_empty_or_failed_answer_keeps_the_last_addresses() {
    run_in_no_time(async {
        let town = town(2);
        town.name_leads_to(Some(&[0, 1]));
        let (client, _) = town.client_by_name();
        call_for(&client, MS * 200).await;
        for answer in [Some(&[][..]), None] {
            town.name_leads_to(answer);
            call_for(&client, ASKED_WITHIN * 2).await;
            assert!(town.asked() > 0);
            assert!(town.calls().iter().all(|share| *share > 100));
        }
        town.name_leads_to(Some(&[1]));
        call_for(&client, ASKED_WITHIN).await;
        town.calls();
        call_for(&client, MS * 400).await;
        assert_eq!(town.0[0].calls(), 0, "an answer counts again");
    });
}

#[test]
fn a_name_that_leads_nowhere_fails_calls_at_once_and_is_asked_once_a_second() {
    run_in_no_time(async {
        let town = town(1);
        town.name_leads_to(None);
        let (client, _) = town.client_by_name();
        for _ in 0..200 {
            let error = act(&client).await.expect_err("nobody is known");
            assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
            sleep(MS * 50).await;
        }
        assert!((9..=11).contains(&town.asked()), "in ten seconds");
        town.name_leads_to(Some(&[0]));
        sleep(MS * 1100).await;
        act(&client).await.expect("the first call after that waits for the answer");
    });
}

#[test]
fn a_name_that_leads_elsewhere_when_its_only_address_goes_costs_no_call() {
    run_in_no_time(async {
        let town = town(2);
        town.name_leads_to(Some(&[0]));
        let (client, _) = town.client_by_name();
        for round in 1..=6 {
            // Longer than the least time between two questions.
            call_for(&client, MS * 1500).await;
            let (old, new) = ((round - 1) % 2, round % 2);
            town.0[new].is(Manner { takes: MS, ..Manner::default() });
            town.0[old].goes();
            town.name_leads_to(Some(&[new]));
            sleep(MS).await;
            let begun = Instant::now();
            act(&client).await.expect("it waits for the answer, which leads elsewhere");
            assert!(begun.elapsed() < MS * 40, "less than the first wait before a call is repeated");
        }
    });
}

#[test]
fn a_name_that_does_not_answer_holds_no_call_up_for_long_whose_addresses_are_all_down() {
    run_in_no_time(async {
        let town = town(1);
        town.name_leads_to(Some(&[0]));
        let (client, _) = town.client_by_name();
        call_for(&client, MS * 1500).await;
        town.0[0].goes();
        town.answers_after(Duration::from_secs(60));
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        while begun.elapsed() < Duration::from_secs(10) {
            let asked = Instant::now();
            act(&client).await.expect_err("nobody is there");
            longest = longest.max(asked.elapsed());
            sleep(MS * 50).await;
        }
        // Three attempts, of 200 ms each at most, and the waits between them.
        assert!(longest < MS * 850, "{longest:?}");
    });
}

#[test]
fn where_an_address_is_down_the_name_is_asked_sooner() {
    run_in_no_time(async {
        let town = town(2);
        town.name_leads_to(Some(&[0]));
        let (client, _) = town.client_by_name();
        call_for(&client, MS * 1500).await;
        town.0[0].goes();
        town.name_leads_to(Some(&[1]));
        for _ in 0..20 {
            act(&client).await.ok();
            sleep(MS * 20).await;
        }
        act(&client).await.expect("it was asked at once, and leads to another");
    });
}

#[test]
fn where_all_addresses_are_down_the_name_is_asked_once_a_second() {
    run_in_no_time(async {
        let town = town(1);
        town.name_leads_to(Some(&[0]));
        let (client, _) = town.client_by_name();
        call_for(&client, MS * 1500).await;
        town.0[0].goes();
        town.asked();
        for _ in 0..250 {
            act(&client).await.expect_err("nobody is there");
            sleep(MS * 20).await;
        }
        assert!((4..=7).contains(&town.asked()), "in five seconds, and what the calls take");
    });
}

#[test]
fn the_first_call_waits_for_the_answer_of_its_name() {
    run_in_no_time(async {
        let town = town(1);
        town.name_leads_to(Some(&[0]));
        town.answers_after(Duration::from_secs(2));
        let (client, _) = town.client_by_name();
        let begun = Instant::now();
        act(&client).await.expect("it is there when the name is answered");
        assert!((Duration::from_secs(2)..Duration::from_millis(2100)).contains(&begun.elapsed()));
    });
}

#[test]
fn a_name_that_does_not_answer_is_waited_for_five_seconds_and_asked_again() {
    run_in_no_time(async {
        let town = town(1);
        town.name_leads_to(Some(&[0]));
        town.answers_after(Duration::from_secs(60));
        let (client, _) = town.client_by_name();
        let begun = Instant::now();
        act(&client).await.expect_err("nobody knows where to go");
        // It is asked once more, for as long as an answer mostly takes.
        let waited = begun.elapsed();
        assert!((Duration::from_secs(5)..MS * 5300).contains(&waited), "{waited:?}");
        town.answers_after(Duration::ZERO);
        act(&client).await.expect("it was asked again");
    });
}

#[test]
fn a_call_that_waits_goes_when_its_name_leads_somewhere() {
    run_in_no_time(async {
        let town = town(1);
        town.name_leads_to(None);
        let (mut carrier, _) = town.carrier(&["dns:///probe.town:50051".parse().expect("a valid address")]);
        let request = Request { wait_for_ready: true, ..act_request() };
        let call = tokio::task::spawn_local(tower::Service::call(&mut carrier, request));
        sleep(MS * 3500).await;
        assert!(!call.is_finished());
        town.name_leads_to(Some(&[0]));
        let answer = timeout(MS * 1100, call).await.expect("it is asked once a second");
        answer.expect("no panic").expect("an answer");
    });
}

#[test]
fn no_more_than_128_addresses_of_a_name_are_used_and_it_is_logged_that_there_are_more_or_others() {
    const CHANGED: &str = "addresses changed";
    const TOO_MANY: &str = "only the first 128 addresses are used";
    run_in_no_time(async {
        let (log, town) = (Log::start(), town(129));
        let all: Vec<_> = (0..129).collect();
        let (client, gauges) = town.client_by_name();
        for (houses, used, logged) in [
            (&all[..2], 2, &[CHANGED][..]),
            (&all[..2], 2, &[]),
            (&all[..128], 128, &[CHANGED]),
            (&all, 128, &[TOO_MANY]),
        ] {
            town.name_leads_to(Some(houses));
            act(&client).await.expect("somebody is there");
            // The call that finds that it is time to ask does not wait for the answer.
            sleep(MS * 10).await;
            let lines = log.lines();
            let texts = lines.iter().filter_map(|line| line["message"].as_str());
            let texts: Vec<_> = texts.filter(|text| text.contains("addresses")).collect();
            assert_eq!(texts, logged, "{} addresses", houses.len());
            assert_eq!(gauges.read().sum(Gauge::CalleeAddresses), used);
            sleep(ASKED_WITHIN).await;
        }
    });
}
