//! Actors that hold state: where it is, when it may change, and what becomes of it when an actor dies.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::counter::{CounterActor, DIES_ANSWERED, DIES_BY_ITSELF, in_the_node, worker, worker_with};
use common::{LIMITS, run, run_in_no_time};
use probe_contract::AddRequest;
use probe_contract::counter::{self, Add, AddAfterwards, AddLater, Watch};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle, spawn_local, yield_now};
use tokio::time::sleep;
use transport::gauges::Gauge;
use transport::router::RouterBuilder;
use transport::status::{NotSent, proof_not_sent};
use transport::{Code, Drain, Gauges, Keys, Limits, Service, Status};

const MANY: Limits = Limits { calls: 1000, ..LIMITS };

fn of(key: &str, amount: i64) -> AddRequest {
    AddRequest { key: key.to_owned(), amount }
}

fn one_for_each_key(keys: Keys) -> Service {
    by_each_key(keys, || CounterActor::new(Arc::default()))
}

fn by_each_key(keys: Keys, make: impl Fn() -> CounterActor + Send + Sync + 'static) -> Service {
    let keys = keys
        .of::<Add>(|request| request.key.clone())
        .of::<AddLater>(|request| request.key.clone())
        .of::<AddAfterwards>(|request| request.key.clone())
        .of::<Watch>(|request| request.key.clone());
    Service::by_key(keys, move |_, ()| make())
}

/// Runs `work` on as many threads at once as a node has workers, each with a worker that hosts `service`.
fn on_two_workers(service: Service, work: impl AsyncFn(counter::Client) + Send + Sync) {
    let drain = Drain::new();
    let both_are_there = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                run(async {
                    let (_router, client) = worker(&service, MANY, &drain);
                    both_are_there.wait();
                    work(client).await;
                });
            });
        }
    });
}

#[test]
fn the_state_of_a_service_in_the_node_is_one_for_all_workers() {
    let totals = std::sync::Mutex::new(Vec::new());
    let done = tokio::sync::Barrier::new(2);
    on_two_workers(in_the_node(&Arc::default()), async |client| {
        for _ in 0..200 {
            let total = client.add(of("a", 1)).await.expect("an answer").total;
            totals.lock().expect("no test panics here").push(total);
        }
        // The actor lives on one of the two threads: neither goes before both are done.
        done.wait().await;
    });
    let mut totals = totals.into_inner().expect("no test panics here");
    totals.sort_unstable();
    assert_eq!(totals, (1..=400).collect::<Vec<_>>());
}

#[test]
fn the_limit_of_a_service_in_the_node_is_one_for_all_workers() {
    run_in_no_time(async {
        let (service, drain) = (in_the_node(&Arc::default()), Drain::new());
        let one = Limits { calls: 1, ..LIMITS };
        let (_first, held) = worker(&service, one, &drain);
        let (_second, other) = worker(&service, one, &drain);
        let held = spawn_local(async move { held.add_later(of("a", 1)).await });
        yield_now().await;
        let refused = other.add(of("a", 1)).await.expect_err("the other worker has a call");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        held.abort();
        held.await.expect_err("it was aborted");
        other.add(of("a", 1)).await.expect("now there is room");
    });
}

#[test]
fn each_key_has_a_state_of_its_own_and_it_is_one_for_all_workers() {
    let done = tokio::sync::Barrier::new(2);
    on_two_workers(one_for_each_key(Keys::new()), async |client| {
        for key in ["a", "b", "c", "d"] {
            for _ in 0..50 {
                client.add(of(key, 1)).await.expect("an answer");
            }
        }
        done.wait().await;
        for key in ["a", "b", "c", "d"] {
            assert_eq!(client.add(of(key, 0)).await.expect("an answer").total, 100, "{key}");
        }
        done.wait().await;
    });
}

#[test]
fn other_calls_are_handled_between_two_looks_at_the_state() {
    run(async {
        let go_on = Arc::new(Notify::new());
        let (_router, client) = worker(&in_the_node(&go_on), LIMITS, &Drain::new());
        let later = spawn_local({
            let client = client.clone();
            async move { client.add_later(of("a", 1)).await }
        });
        yield_now().await;
        assert_eq!(client.add(of("a", 10)).await.expect("an answer").total, 10);
        go_on.notify_one();
        let later = later.await.expect("no panic").expect("an answer");
        assert_eq!((later.before, later.total), (0, 11));
    });
}

#[test]
fn a_call_that_is_cancelled_or_late_changes_nothing() {
    run_in_no_time(async {
        let go_on = Arc::new(Notify::new());
        let (_router, client) = worker(&in_the_node(&go_on), LIMITS, &Drain::new());
        let mut request = tonic::Request::new(of("a", 1));
        request.set_timeout(Duration::from_millis(50));
        let late = client.inner().exchange::<AddLater>(request).await.expect_err("it waits for ever");
        assert_eq!(late.code(), Code::DeadlineExceeded);
        let cancelled = spawn_local({
            let client = client.clone();
            async move { client.add_later(of("a", 1)).await }
        });
        sleep(Duration::from_millis(1)).await;
        cancelled.abort();
        sleep(Duration::from_millis(1)).await;
        go_on.notify_waiters();
        assert_eq!(client.add(of("a", 0)).await.expect("an answer").total, 0);
    });
}

#[test]
fn a_refused_call_changes_nothing() {
    run(async {
        let none = Limits { calls: 0, ..LIMITS };
        let (_router, client) = worker(&in_the_node(&Arc::default()), none, &Drain::new());
        let refused = client.add(of("a", 1)).await.expect_err("no call is taken on");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.message(), "counter has as many calls as it takes on");
    });
}

/// These calls waited for an actor that died, and are told so.
async fn assert_not_handled<T: std::fmt::Debug>(calls: [JoinHandle<Result<T, Status>>; 2]) {
    for call in calls {
        let failed = call.await.expect("no panic here").expect_err("its actor died");
        assert_eq!(proof_not_sent(&failed), Some(NotSent::Unreachable), "{failed:?}");
    }
}

#[test]
fn a_panic_with_the_state_in_hand_kills_the_actor_and_fails_its_own_call_alone() {
    run(async {
        let go_on = Arc::new(Notify::new());
        let (_router, client) = worker(&in_the_node(&go_on), LIMITS, &Drain::new());
        client.add(of("a", 7)).await.expect("an answer");
        let calls = [-1, 1, 1].map(|amount| {
            let client = client.clone();
            spawn_local(async move { client.add(of("a", amount)).await })
        });
        let [guilty, waiting, other] = calls;
        let guilty = guilty.await.expect("no panic here").expect_err("it panicked");
        assert_eq!((guilty.code(), guilty.message()), (Code::Internal, "the handler panicked"));
        assert_not_handled([waiting, other]).await;
        assert_eq!(client.add(of("a", 1)).await.expect("an answer").total, 1, "a new actor knows nothing");
    });
}

#[test]
fn calls_that_wait_while_an_actor_dies_over_its_own_work_were_not_handled() {
    run(async {
        let go_on = Arc::new(Notify::new());
        let (_router, client) = worker(&in_the_node(&go_on), LIMITS, &Drain::new());
        client.add(of("a", DIES_BY_ITSELF)).await.expect("an answer");
        let waiting = [1, 2].map(|amount| {
            let client = client.clone();
            spawn_local(async move { client.add(of("a", amount)).await })
        });
        yield_now().await;
        go_on.notify_one();
        assert_not_handled(waiting).await;
    });
}

#[test]
fn a_call_whose_actor_dies_when_it_was_handled_is_told_so_and_those_that_wait_are_not() {
    run(async {
        let (_router, client) = worker(&in_the_node(&Arc::default()), LIMITS, &Drain::new());
        let calls = [DIES_ANSWERED, 1, 1].map(|amount| {
            let client = client.clone();
            spawn_local(async move { client.add(of("a", amount)).await })
        });
        let [guilty, waiting, other] = calls;
        let guilty = guilty.await.expect("no panic here").expect_err("it panicked");
        assert_eq!((guilty.code(), guilty.message()), (Code::Internal, "the handler panicked"));
        assert_not_handled([waiting, other]).await;
    });
}

#[test]
fn a_panic_while_looking_at_the_state_is_told_to_its_own_call() {
    run(async {
        let go_on = Arc::new(Notify::new());
        let (_router, client) = worker(&in_the_node(&go_on), LIMITS, &Drain::new());
        go_on.notify_one();
        let guilty = client.add_later(of("a", -1)).await.expect_err("it panicked");
        assert_eq!((guilty.code(), guilty.message()), (Code::Internal, "the handler panicked"));
        assert_eq!(client.add(of("a", 1)).await.expect("an answer").total, 1);
    });
}

#[test]
fn an_actor_that_was_idle_for_long_enough_is_given_up_and_one_that_was_not_is_kept() {
    run_in_no_time(async {
        let idle = Duration::from_secs(60);
        let service = one_for_each_key(Keys::new().idle_after(idle));
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        for key in ["idle", "busy"] {
            client.add(of(key, 5)).await.expect("an answer");
        }
        for _ in 0..4 {
            sleep(idle / 2).await;
            client.add(of("busy", 0)).await.expect("an answer");
        }
        assert_eq!(client.add(of("busy", 0)).await.expect("an answer").total, 5);
        assert_eq!(client.add(of("idle", 0)).await.expect("an answer").total, 0);
    });
}

#[test]
fn operators_see_the_actors_of_keys_and_none_that_was_idle_for_half_as_long_again_as_it_may() {
    run_in_no_time(async {
        let (idle, gauges) = (Duration::from_secs(60), Gauges::new());
        let service = one_for_each_key(Keys::new().idle_after(idle));
        let watched = |router: &mut RouterBuilder| router.watch(&gauges);
        let (_router, client) = worker_with(&service, LIMITS, &Drain::new(), watched);
        let actors = || {
            let reading = gauges.read();
            [Gauge::KeyedActors, Gauge::KeyedActorsIdle].map(|gauge| reading.count(gauge, "counter", ""))
        };
        let _held = hold(&client).await;
        client.add(of("other", 5)).await.expect("an answer");
        assert_eq!(actors(), [2, 1]);
        sleep(idle * 9 / 10).await;
        assert_eq!(actors(), [2, 2], "the call that was held has run into its deadline");
        sleep(idle * 7 / 10).await;
        assert_eq!(actors(), [0, 0]);
    });
}

#[test]
fn there_are_no_more_keys_than_said_and_the_one_that_was_idle_longest_makes_room() {
    run_in_no_time(async {
        let service = one_for_each_key(Keys::new().at_most(2));
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        for key in ["first", "second", "third"] {
            client.add(of(key, 1)).await.expect("an answer");
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.add(of("second", 0)).await.expect("an answer").total, 1, "it was there");
        assert_eq!(client.add(of("first", 0)).await.expect("an answer").total, 0, "it had made room");
    });
}

/// A call with the key `held`, which its actor has by now.
async fn hold(client: &counter::Client) -> AbortHandle {
    let client = client.clone();
    let held = spawn_local(async move { client.add_later(of("held", 1)).await });
    sleep(Duration::from_millis(1)).await;
    held.abort_handle()
}

#[test]
fn a_new_key_is_refused_while_all_others_have_calls() {
    run_in_no_time(async {
        let service = one_for_each_key(Keys::new().at_most(1));
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        let held = hold(&client).await;
        let refused = client.add(of("new", 1)).await.expect_err("there is no room");
        assert_eq!(refused.message(), "there are 1 keys with calls, and no room for another");
        held.abort();
        sleep(Duration::from_millis(1)).await;
        client.add(of("new", 1)).await.expect("now there is room");
    });
}

#[test]
fn an_actor_with_two_calls_is_not_given_up_when_one_of_them_ends() {
    run_in_no_time(async {
        let service = one_for_each_key(Keys::new().at_most(1));
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        let held = hold(&client).await;
        client.add(of("held", 5)).await.expect("an answer");
        let refused = client.add(of("new", 1)).await.expect_err("there is no room");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        held.abort();
        sleep(Duration::from_millis(1)).await;
        client.add(of("new", 1)).await.expect("now there is room");
    });
}

#[test]
#[should_panic(expected = "counter is placed by key, and /rehearsal.Counter/AddAfterwards has none")]
fn a_service_by_key_needs_a_key_for_each_of_its_methods() {
    let keys = Keys::new().of::<Add>(|request| request.key.clone());
    let keys = keys.of::<AddLater>(|request| request.key.clone());
    Service::by_key(keys, |_, ()| CounterActor::new(Arc::default()));
}

#[test]
fn calls_in_a_row_that_panic_are_all_told_so() {
    run(async {
        let (_router, client) = worker(&in_the_node(&Arc::default()), LIMITS, &Drain::new());
        for _ in 0..3 {
            let guilty = client.add(of("a", -1)).await.expect_err("it panicked");
            assert_eq!((guilty.code(), guilty.message()), (Code::Internal, "the handler panicked"));
        }
    });
}

#[test]
fn an_actor_whose_work_outlives_its_call_is_not_given_up() {
    run_in_no_time(async {
        let go_on = Arc::new(Notify::new());
        let given = go_on.clone();
        let keys = Keys::new().idle_after(Duration::from_millis(100)).at_most(1);
        let service = by_each_key(keys, move || CounterActor::new(given.clone()));
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        client.add_afterwards(of("a", 5)).await.expect("an answer");
        sleep(Duration::from_secs(1)).await;
        let refused = client.add(of("b", 1)).await.expect_err("there is no room");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        go_on.notify_one();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(client.add(of("a", 0)).await.expect("an answer").total, 5, "its state is where it was");
    });
}

#[test]
fn an_actor_that_cannot_be_made_again_fails_its_calls_and_nothing_else() {
    run(async {
        let made = std::sync::atomic::AtomicU32::new(0);
        let service = Service::in_node(move |()| {
            if made.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                sim::planned_panic();
            }
            CounterActor::new(Arc::default())
        });
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        client.add(of("a", -1)).await.expect_err("it panicked");
        let unmade = client.add(of("a", 1)).await.expect_err("it cannot be made");
        assert_eq!((unmade.code(), unmade.message()), (Code::Internal, "the actor could not be made"));
        assert_eq!(client.add(of("a", 1)).await.expect("the next one can").total, 1);
    });
}

#[test]
fn a_key_whose_actor_cannot_be_made_harms_no_other() {
    run(async {
        let service = by_each_key(Keys::new(), || sim::planned_panic());
        let (_router, client) = worker(&service, LIMITS, &Drain::new());
        for key in ["a", "b", "a"] {
            let dead = client.add(of(key, 1)).await.expect_err("it cannot be made");
            assert_eq!(proof_not_sent(&dead), Some(NotSent::Unreachable), "{dead:?}");
        }
    });
}
