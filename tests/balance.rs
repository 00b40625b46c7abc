//! Which endpoint a call goes to: one that is slow or fails gets few, and all of them when it is sound again.

mod common;
mod town;

use std::time::Duration;

use common::request::{ActTwice, act_request};
use common::{SOON, run_in_no_time};
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::time::{Instant, sleep};
use tower::Service as _;
use town::{LIMITS, Manner, Town};
use transport::channel::Request;
use transport::gauges::Gauge;
use transport::policy::Policies;
use transport::trail::Trail;
use transport::{Client, Method, Status};

const MS: Duration = Duration::from_millis(1);

const SOUND: Manner = Manner { takes: MS, fails: false, is_away: false };
const FAILING: Manner = Manner { takes: MS, fails: true, is_away: false };

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

async fn calls(client: &Client, count: usize, gap: Duration) -> Vec<(Duration, Result<(), Status>)> {
    calls_of::<Act>(client, count, gap).await
}

/// Makes `count` calls, one each `gap`, whether or not those before have ended; how long each took and what became of it.
async fn calls_of<M>(client: &Client, count: usize, gap: Duration) -> Vec<(Duration, Result<(), Status>)>
where
    M: Method<Request = ActRequest> + 'static,
{
    let mut calls = Vec::new();
    for _ in 0..count {
        let client = client.clone();
        calls.push(tokio::task::spawn_local(async move {
            let begun = Instant::now();
            let outcome = client.call::<M>(ActRequest::default()).await.map(drop);
            (begun.elapsed(), outcome)
        }));
        sleep(gap).await;
    }
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.expect("no panic"));
    }
    ended
}

fn failures(calls: &[(Duration, Result<(), Status>)]) -> usize {
    calls.iter().filter(|(_, outcome)| outcome.is_err()).count()
}

#[test]
fn endpoints_that_are_alike_share_calls() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 4]);
        let client = town.client();
        calls(&client, 20, MS * 2).await;
        town.calls();
        calls(&client, 400, MS * 2).await;
        let shares = town.calls();
        assert!(shares.iter().all(|share| (80..=120).contains(share)), "{shares:?}");
    });
}

#[test]
fn one_slow_endpoint_of_three_hardly_slows_calls_down() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND, Manner { takes: MS * 50, ..SOUND }, SOUND]);
        let client = town.client();
        calls(&client, 20, MS * 2).await;
        let mut took: Vec<_> = calls(&client, 1000, MS * 2).await.into_iter().map(|(took, _)| took).collect();
        took.sort_unstable();
        assert!(took[989] <= MS * 5, "99 % take {:?} at most", took[989]);
        assert!(town.0[1].calls() > 0, "it is asked now and then");
    });
}

#[test]
fn of_three_one_that_fails_and_one_that_is_slow_cost_no_call_and_slow_hardly_any_down() {
    run_in_no_time(async {
        let most_take = async |manners: &[Manner]| {
            let town = Town::of(manners);
            let carrier = town.carrier(&town.addresses()).0;
            let client = Client::with_policies("probe", carrier, Policies::new(SOON), LIMITS);
            let calls = calls_of::<ActTwice>(&client, 2000, MS * 2).await;
            assert_eq!(failures(&calls), 0);
            let mut took: Vec<_> = calls.into_iter().map(|(took, _)| took).collect();
            took.sort_unstable();
            took[1979]
        };
        let healthy = most_take(&[SOUND; 3]).await;
        let ill = most_take(&[SOUND, FAILING, Manner { takes: MS * 50, ..SOUND }]).await;
        assert!(ill <= healthy * 3, "99 of 100 take {ill:?} at most, and {healthy:?} where all are sound");
    });
}

#[test]
fn more_calls_than_an_endpoint_answers_go_to_slower_ones_too() {
    run_in_no_time(async {
        let town = Town::of(&[Manner { takes: MS * 10, ..SOUND }, Manner { takes: MS * 30, ..SOUND }]);
        let client = town.client();
        calls(&client, 50, MS).await;
        town.calls();
        calls(&client, 1000, MS).await;
        let shares = town.calls();
        assert!(shares[0] > shares[1] && shares[1] > 50, "{shares:?}");
    });
}

#[test]
fn an_endpoint_that_fails_at_once_gets_few_calls_and_comes_back_when_it_is_sound() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND, FAILING, SOUND]);
        let client = town.client();
        let first = calls(&client, 1000, MS * 2).await;
        assert!(failures(&first) <= 8, "{} calls failed", failures(&first));
        assert!(town.0[1].calls() <= 8);
        town.0[1].is(SOUND);
        assert_eq!(failures(&calls(&client, 2000, MS * 2).await), 0);
        town.calls();
        calls(&client, 300, MS * 2).await;
        assert!(town.0[1].calls() > 60, "it takes its share again");
    });
}

#[test]
fn an_endpoint_is_ejected_after_five_failures_and_tried_by_one_call_at_a_time() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND, SOUND]);
        let (carrier, gauges) = town.carrier(&town.addresses());
        let client = Client::new(carrier, common::SOON, common::LIMITS);
        calls(&client, 4, MS * 2).await;
        town.calls();
        town.0[1].is(Manner { takes: MS * 100, ..FAILING });
        // Together, so that none of them knows of another.
        calls(&client, 40, Duration::ZERO).await;
        let ejected = || gauges.read().count(Gauge::CalleeAddresses, "probe", "ejected");
        assert_eq!(ejected(), 1);
        town.calls();
        sleep(MS * 1200).await;
        let tried = calls(&client, 50, MS).await;
        assert_eq!((failures(&tried), town.0[1].calls()), (1, 1), "one call tries it");
        assert_eq!(ejected(), 1);
        town.0[1].is(SOUND);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(failures(&calls(&client, 50, MS * 2).await), 0);
        assert!(ejected() == 0 && town.0[1].calls() > 10);
    });
}

#[test]
fn what_is_known_of_an_endpoint_is_forgotten_with_its_connection() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND, Manner { takes: MS * 50, ..SOUND }]);
        let client = town.client();
        calls(&client, 60, MS * 2).await;
        town.0[1].goes();
        calls(&client, 20, MS * 2).await;
        town.0[1].is(SOUND);
        sleep(MS * 1300).await;
        calls(&client, 4, MS * 2).await;
        town.calls();
        assert_eq!(failures(&calls(&client, 40, MS * 2).await), 0);
        assert!(town.0[1].calls() > 10, "another process may be there, which is as quick as the other");
    });
}

#[test]
fn an_endpoint_that_comes_later_takes_its_share_of_the_calls_and_no_more() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND, Manner { is_away: true, ..SOUND }]);
        let client = town.client();
        calls(&client, 100, MS * 2).await;
        town.0[1].is(SOUND);
        sleep(MS * 2500).await;
        calls(&client, 4, MS * 2).await;
        town.calls();
        calls(&client, 100, MS * 2).await;
        let shares = town.calls();
        assert!(shares.iter().all(|share| (30..=70).contains(share)), "{shares:?}");
    });
}

#[test]
fn where_all_fail_calls_still_go_to_all() {
    run_in_no_time(async {
        let town = Town::of(&[FAILING; 3]);
        let (carrier, gauges) = town.carrier(&town.addresses());
        let client = Client::new(carrier, common::SOON, common::LIMITS);
        let all = calls(&client, 300, MS * 10).await;
        assert_eq!(failures(&all), 300);
        let shares = town.calls();
        assert_eq!(shares.iter().sum::<usize>(), 300, "no call is refused here: {shares:?}");
        assert!(shares.iter().all(|share| *share > 20), "{shares:?}");
        assert!(gauges.read().count(Gauge::CalleeAddresses, "probe", "ejected") <= 2);
        town.0[2].is(SOUND);
        calls(&client, 100, MS * 10).await;
        let again = calls(&client, 300, MS * 10).await;
        assert!(failures(&again) <= 10, "{} calls failed that the sound one could take", failures(&again));
    });
}

#[test]
fn no_more_than_half_of_the_connected_endpoints_rounded_up_are_left_out() {
    for (houses, left_out) in [(2, 1), (3, 2), (4, 2), (5, 3)] {
        run_in_no_time(async {
            let town = Town::of(&vec![SOUND; houses]);
            let (carrier, gauges) = town.carrier(&town.addresses());
            let client = Client::new(carrier, common::SOON, common::LIMITS);
            calls(&client, 8 * houses, MS * 2).await;
            town.0[1..].iter().for_each(|house| house.is(Manner { takes: MS * 100, ..FAILING }));
            // Together, so that each fails often enough before anybody knows.
            calls(&client, 40 * houses, Duration::ZERO).await;
            let ejected = gauges.read().count(Gauge::CalleeAddresses, "probe", "ejected");
            assert_eq!(ejected, left_out, "of {houses}, of which one is sound");
        });
    }
}

#[test]
fn operators_see_how_an_address_stands() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND]);
        let (carrier, gauges) = town.carrier(&town.addresses());
        let client = Client::new(carrier, common::SOON, common::LIMITS);
        let stands =
            |state| assert_eq!(gauges.read().count(Gauge::CalleeAddresses, "probe", state), 1, "{state}");
        stands("idle");
        act(&client).await.expect("an answer");
        stands("ready");
        town.0[0].goes();
        sleep(MS).await;
        stands("idle");
        act(&client).await.expect_err("nobody is there");
        stands("backoff");
        sleep(MS * 1300).await;
        stands("idle");
    });
}

#[test]
fn an_endpoint_is_not_left_out_where_no_other_is_connected() {
    run_in_no_time(async {
        let town = Town::of(&[FAILING, Manner { is_away: true, ..SOUND }]);
        let (carrier, gauges) = town.carrier(&town.addresses());
        let client = Client::new(carrier, common::SOON, common::LIMITS);
        assert_eq!(failures(&calls(&client, 20, MS).await), 20);
        assert_eq!(gauges.read().count(Gauge::CalleeAddresses, "probe", "ejected"), 0);
    });
}

#[test]
fn a_service_at_one_address_is_called_there_however_often_it_fails() {
    run_in_no_time(async {
        let town = Town::of(&[FAILING]);
        let client = town.client();
        calls(&client, 20, MS).await;
        town.0[0].is(SOUND);
        assert_eq!(failures(&calls(&client, 20, MS).await), 0);
    });
}

fn attempt(attempt: u32, trail: &Trail) -> Request {
    Request { attempt, trail: trail.clone(), ..act_request() }
}

#[test]
fn an_attempt_goes_where_no_other_went() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 3]);
        let (mut carrier, _) = town.carrier(&town.addresses());
        calls(&Client::new(carrier.clone(), common::SOON, common::LIMITS), 10, MS * 2).await;
        for _ in 0..20 {
            let trail = Trail::default();
            for number in 0..3 {
                carrier.call(attempt(number, &trail)).await.expect("an answer");
            }
            let mut addresses: Vec<_> = trail.legs().into_iter().map(|leg| (*leg.address).clone()).collect();
            addresses.sort();
            assert_eq!(addresses, town.addresses(), "three attempts, three endpoints");
            carrier.call(attempt(3, &trail)).await.expect("there is none left, and one is better than none");
        }
    });
}

#[test]
fn an_attempt_goes_where_no_other_went_though_that_is_slower() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND, Manner { takes: MS * 50, ..SOUND }]);
        let (mut carrier, _) = town.carrier(&town.addresses());
        calls(&Client::new(carrier.clone(), common::SOON, common::LIMITS), 40, MS * 2).await;
        town.calls();
        let trail = Trail::default();
        for number in 0..2 {
            carrier.call(attempt(number, &trail)).await.expect("an answer");
        }
        assert_eq!(town.calls(), [1, 1]);
    });
}

#[test]
fn a_call_that_waits_for_a_connection_goes_when_there_is_one() {
    run_in_no_time(async {
        let town = Town::of(&[Manner { is_away: true, ..SOUND }]);
        let (mut carrier, _) = town.carrier(&town.addresses());
        carrier.call(attempt(0, &Trail::default())).await.expect_err("it fails at once");
        let waits = Request { wait_for_ready: true, ..attempt(0, &Trail::default()) };
        let call = tokio::task::spawn_local(carrier.call(waits));
        sleep(Duration::from_secs(2)).await;
        assert!(!call.is_finished(), "nobody is there");
        town.0[0].is(SOUND);
        call.await.expect("no panic").expect("the next attempt to connect works");
    });
}
