//! A limit of calls in flight that follows the callee: near where calls begin to wait for each other there.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::{LIMITS, SOON, run_in_no_time};
use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::metadata::MetadataMap;
use tower::service_fn;
use transport::channel::{Request, Response};
use transport::gauges::Gauge;
use transport::payload::{Message, Payload};
use transport::policy::{MaxInFlight, Policies};
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
