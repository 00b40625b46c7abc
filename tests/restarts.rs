//! What calls notice when the replicas of a service restart one after the other: nothing, as long as one is there.

mod common;
mod town;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::run_in_no_time;
use probe_contract::ActRequest;
use probe_contract::probe::Act;
use tokio::time::{Instant, sleep, timeout};
use town::{House, Manner, Town};
use transport::{Client, Code, Status};

const MS: Duration = Duration::from_millis(1);

/// Shorter than the first wait of the backoff, which is 800 ms at least.
const AWHILE: Duration = Duration::from_millis(150);

const THERE: Manner = Manner { takes: MS, fails: false, is_away: false };

async fn act(client: &Client) -> Result<(), Status> {
    client.call::<Act>(ActRequest::default()).await.map(drop)
}

/// Calls again and again for so long, one call after the other; how many failed, and how long the longest took.
async fn call_for(client: &Client, time: Duration) -> (usize, Duration) {
    let (end, mut failed, mut longest) = (Instant::now() + time, 0, Duration::ZERO);
    while Instant::now() < end {
        let begun = Instant::now();
        failed += usize::from(act(client).await.is_err());
        longest = longest.max(begun.elapsed());
        sleep(MS * 5).await;
    }
    (failed, longest)
}

/// It goes while it has no call, and whoever was connected has seen it.
async fn goes(house: &House) {
    house.goes();
    sleep(MS).await;
}

#[test]
fn replicas_that_restart_one_after_the_other_fail_no_call_and_hold_none_up() {
    run_in_no_time(async {
        for replicas in 2..=5 {
            let town = Town::of(&vec![THERE; replicas]);
            let client = town.client();
            assert_eq!(call_for(&client, AWHILE).await.0, 0);
            for round in 0..6 {
                let house = &town.0[round % replicas];
                goes(house).await;
                let (failed, longest) = call_for(&client, AWHILE).await;
                house.is(THERE);
                let (later, afterwards) = call_for(&client, MS * 20).await;
                assert_eq!(failed + later, 0, "of {replicas} replicas, in round {round}");
                // Less than the first wait before a call is repeated: no call was.
                assert!(longest.max(afterwards) < MS * 40, "{longest:?}, {afterwards:?}");
            }
        }
    });
}

#[test]
fn a_replica_that_is_back_is_not_tried_before_its_time_while_another_is_there() {
    run_in_no_time(async {
        let town = Town::of(&[THERE; 3]);
        let client = town.client();
        call_for(&client, AWHILE).await;
        goes(&town.0[0]).await;
        call_for(&client, AWHILE).await;
        town.0[0].is(THERE);
        goes(&town.0[1]).await;
        assert_eq!(call_for(&client, AWHILE).await.0, 0);
        let attempts = |house: usize| town.0[house].attempts.load(Ordering::Relaxed);
        assert_eq!([attempts(0), attempts(1), attempts(2)], [2, 2, 1], "the third carries all calls");
    });
}

#[test]
fn replicas_that_are_all_down_are_tried_once_more_for_each_connection_lost_and_then_rest() {
    run_in_no_time(async {
        let town = Town::of(&[THERE; 3]);
        let client = town.client();
        call_for(&client, AWHILE).await;
        for house in town.0.iter() {
            goes(house).await;
        }
        let error =
            timeout(MS * 400, act(&client)).await.expect("it waits for nobody").expect_err("all are down");
        assert_eq!(error.code(), Code::Unavailable);
        call_for(&client, AWHILE).await;
        let attempts =
            || town.0.iter().map(|house| house.attempts.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let first = attempts();
        // One made it, one follows its own loss, and one the loss of each other.
        assert!(first.iter().all(|attempts| (2..=4).contains(attempts)), "{first:?}");
        call_for(&client, AWHILE).await;
        assert_eq!(attempts(), first, "nothing more was lost");
    });
}

#[test]
fn replicas_that_nobody_ever_reached_are_left_to_the_backoff() {
    run_in_no_time(async {
        let town = Town::of(&[Manner { is_away: true, ..THERE }; 3]);
        let client = town.client();
        call_for(&client, AWHILE * 4).await;
        let attempts: Vec<_> = town.0.iter().map(|house| house.attempts.load(Ordering::Relaxed)).collect();
        assert_eq!(attempts, [1, 1, 1]);
    });
}
