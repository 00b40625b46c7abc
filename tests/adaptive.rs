//! A limit of calls in flight that follows the callee: near where calls begin to wait for each other there.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::carrier::{answer, idempotent};
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::FutureExt as _;
use futures_util::future::{join_all, pending};
use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::MetadataMap;
use tower::service_fn;
use transport::channel::{Request, Response};
use transport::gauges::Gauge;
use transport::payload::{Message, Payload};
use transport::policy::{MaxInFlight, Policies, RetryBudget};
use transport::{Client, Code, Gauges, Status};

const MS: Duration = Duration::from_millis(1);

/// How many calls the callee handles at once; others wait for them.
const PLACES: usize = 20;

/// A callee with so many places, and its client.
struct World {
    client: Client,
    gauges: Gauges,
    /// How long it takes for a call, in milliseconds.
    takes: Arc<AtomicU64>,
}

impl World {
    fn with(max_in_flight: MaxInFlight) -> Self {
        let (places, takes) = (Arc::new(Semaphore::new(PLACES)), Arc::new(AtomicU64::new(10)));
        let (its_takes, calls) = (Arc::clone(&takes), Arc::new(AtomicU64::new(0)));
        let carrier = service_fn(move |_: Request| {
            // Some take a little less than others, so that not all end in the same moment.
            let takes = its_takes.load(Ordering::Relaxed) - calls.fetch_add(1, Ordering::Relaxed) % 3;
            let places = Arc::clone(&places);
            async move {
                let _place = places.acquire().await.expect("places are never closed");
                sleep(Duration::from_millis(takes)).await;
                let (metadata, message) = (MetadataMap::new(), Message::of(ProcessNameResponse::default()));
                Ok::<_, Status>(Response { metadata, body: Payload::One(message) })
            }
        });
        let policies = Policies { max_in_flight: Some(max_in_flight), ..Policies::new(SOON) };
        let (client, gauges) = (Client::with_policies("callee", carrier, policies, LIMITS), Gauges::new());
        client.watch(&gauges);
        Self { client, gauges, takes }
    }

    /// Has so many callers call again and again for so long; how many calls worked.
    async fn called_by(&self, callers: usize, time: Duration) -> usize {
        let (worked, until) = (Rc::new(Cell::new(0)), Instant::now() + time);
        let mut all = JoinSet::new();
        for _ in 0..callers {
            let (client, worked) = (self.client.clone(), Rc::clone(&worked));
            all.spawn_local(async move {
                while Instant::now() < until {
                    match client.call::<ProcessName>(ProcessNameRequest::default()).await {
                        Ok(_) => worked.set(worked.get() + 1),
                        Err(status) => {
                            assert_eq!(status.code(), Code::ResourceExhausted);
                            sleep(MS * 20).await;
                        }
                    }
                }
            });
        }
        all.join_all().await;
        worked.get()
    }

    fn limit(&self, what: &str) -> usize {
        self.gauges.read().count(Gauge::CalleeLimit, "callee", what)
    }
}

#[test]
fn a_callee_whose_round_trips_grow_with_its_calls_is_kept_busy_and_no_more() {
    run_in_no_time(async {
        let world = World::with(MaxInFlight::Adaptive);
        world.called_by(10, MS * 1000).await;
        for _ in 0..3 {
            let worked = world.called_by(60, MS * 3000).await;
            let limit = world.limit("most");
            assert!((PLACES..=PLACES * 2).contains(&limit), "{limit}");
            assert!(worked > 6000, "6,600 is all that it can handle: {worked}");
        }
        assert_eq!(world.limit("taken"), 0);
    });
}

#[test]
fn the_limit_falls_when_a_callee_becomes_slow_and_is_back_when_it_recovers() {
    run_in_no_time(async {
        let world = World::with(MaxInFlight::Adaptive);
        world.called_by(50, MS * 3000).await;
        let before = world.limit("most");
        world.takes.store(200, Ordering::Relaxed);
        world.called_by(50, MS * 5000).await;
        let slow = world.limit("most");
        assert!(slow * 2 < before, "{slow} after {before}");
        world.takes.store(10, Ordering::Relaxed);
        world.called_by(50, MS * 3000).await;
        assert!(world.limit("most") + 3 > before, "{} after {before}", world.limit("most"));
    });
}

#[test]
fn the_limit_of_an_idle_client_does_not_run_away() {
    run_in_no_time(async {
        let world = World::with(MaxInFlight::Adaptive);
        let before = world.limit("most");
        world.called_by(3, MS * 20_000).await;
        assert_eq!(world.limit("most"), before);
    });
}

/// A client whose limit adapts, and whose callee does as `does` says for each attempt, by its number in its call.
fn client_of<F>(
    policies: Policies,
    does: impl Fn(u32) -> F + Clone + Send + Sync + 'static,
) -> (Client, Gauges)
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let carrier =
        service_fn(move |request: Request| does(request.attempt).map(|done| done.map(|()| answer())));
    let policies = Policies { max_in_flight: Some(MaxInFlight::Adaptive), ..policies };
    let (client, gauges) = (Client::with_policies("callee", carrier, policies, LIMITS), Gauges::new());
    client.watch(&gauges);
    (client, gauges)
}

/// Makes as many calls at once as the limit allows, so many times; the limit after each.
async fn limits(client: &Client, gauges: &Gauges, times: usize) -> Vec<usize> {
    let limit = || gauges.read().count(Gauge::CalleeLimit, "callee", "most");
    let mut limits = Vec::new();
    for _ in 0..times {
        let calls = (0..limit()).map(|_| idempotent(client));
        join_all(calls).await;
        // Longer than a limit lasts that was found.
        sleep(MS * 100).await;
        limits.push(limit());
    }
    limits
}

#[test]
fn a_callee_that_refuses_calls_for_want_of_room_gets_little_more_than_twice_what_it_takes() {
    run_in_no_time(async {
        let places = Arc::new(Semaphore::new(PLACES));
        let (client, gauges) = client_of(Policies::new(SOON).without_retries(), move |_| {
            let place = Arc::clone(&places).try_acquire_owned();
            async move {
                sleep(MS * 10).await;
                place.map(drop).map_err(|_| Status::resource_exhausted("no room"))
            }
        });
        let limits = limits(&client, &gauges, 100).await;
        assert!(limits.iter().all(|limit| (PLACES * 3 / 4..PLACES * 5 / 2).contains(limit)), "{limits:?}");
    });
}

#[test]
fn a_call_that_fails_for_another_reason_says_nothing_of_room() {
    run_in_no_time(async {
        let (client, gauges) = client_of(Policies::new(SOON).without_retries(), |_| async {
            sleep(MS * 10).await;
            Err(Status::internal("told so"))
        });
        assert_eq!(limits(&client, &gauges, 20).await, [20; 20]);
    });
}

#[test]
fn a_call_that_was_repeated_says_nothing_of_a_round_trip() {
    run_in_no_time(async {
        let fails = Arc::new(AtomicBool::new(false));
        let first_fails = Arc::clone(&fails);
        let budget = RetryBudget { tokens: 1000, ..RetryBudget::default() };
        let (client, gauges) = client_of(Policies { budget, ..Policies::new(SOON) }, move |attempt| {
            let fails = attempt == 0 && first_fails.load(Ordering::Relaxed);
            async move {
                sleep(MS * 10).await;
                if fails { Err(Status::unavailable("told so")) } else { Ok(()) }
            }
        });
        let learnt = limits(&client, &gauges, 3).await;
        fails.store(true, Ordering::Relaxed);
        assert_eq!(limits(&client, &gauges, 3).await, [learnt[2]; 3]);
    });
}

#[test]
fn a_call_that_runs_into_its_deadline_says_that_its_callee_is_slow_and_one_that_is_given_up_does_not() {
    run_in_no_time(async {
        let hangs = Arc::new(AtomicBool::new(false));
        let all_hang = Arc::clone(&hangs);
        let (client, gauges) = client_of(Policies::new(SOON), move |_| {
            let hangs = all_hang.load(Ordering::Relaxed);
            async move {
                if hangs {
                    pending::<()>().await;
                }
                sleep(MS * 10).await;
                Ok(())
            }
        });
        let learnt = limits(&client, &gauges, 3).await[2];
        hangs.store(true, Ordering::Relaxed);
        join_all((0..learnt).map(|_| timeout(MS * 500, idempotent(&client)))).await;
        assert_eq!(gauges.read().count(Gauge::CalleeLimit, "callee", "most"), learnt);
        // The first of them ends what was seen before.
        let late = limits(&client, &gauges, 2).await[1];
        assert!(late < learnt, "{late} after {learnt}");
    });
}

#[test]
fn operators_see_a_limit_and_how_much_of_it_is_taken() {
    run_in_no_time(async {
        let world = World::with(MaxInFlight::Calls(7));
        let calls = world.called_by(5, MS * 5);
        let seen = AtomicUsize::new(0);
        let look = async {
            sleep(MS).await;
            seen.store(world.limit("taken"), Ordering::Relaxed);
        };
        tokio::join!(biased; calls, look);
        assert_eq!((world.limit("most"), seen.into_inner(), world.limit("taken")), (7, 5, 0));
    });
}
