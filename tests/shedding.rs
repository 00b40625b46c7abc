//! A call that would hardly be answered in time is refused before it takes anybody's time, where a node is told to.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::counter::CounterActor;
use common::{LIMITS, SOON, run_in_no_time};
use probe_contract::AddRequest;
use probe_contract::counter::{self, AddLater};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::sleep;
use transport::memory::Memory;
use transport::{Client, Code, Drain, Router, Service, ServiceClient as _};

/// How long each call takes here.
const TAKES: Duration = Duration::from_millis(100);

/// A counter, which answers when it is told to, on a worker that sheds or does not.
struct World {
    client: counter::Client,
    go_on: Arc<Notify>,
    _router: Router,
}

fn world(sheds: bool) -> World {
    let (memory, go_on) = (Memory::new(), Arc::new(Notify::new()));
    let mut router = Router::builder(LIMITS, Drain::new());
    router.shed_by_deadline(sheds);
    let going_on = go_on.clone();
    let service = Service::in_node(move |()| CounterActor::new(going_on.clone()));
    router.add(&service, &|name| unreachable!("the counter calls no {name}"));
    let router = router.build();
    memory.lead_to(&router);
    World { client: counter::Client::new(Client::new(memory, SOON, LIMITS)), go_on, _router: router }
}

fn within(limit: Duration) -> tonic::Request<AddRequest> {
    let mut request = tonic::Request::new(AddRequest { key: "a".to_owned(), amount: 1 });
    request.set_timeout(limit);
    request
}

/// Makes calls with time enough until it is known how long they take.
async fn learn(world: &World) {
    for _ in 0..32 {
        let go_on = world.go_on.clone();
        spawn_local(async move {
            sleep(TAKES).await;
            go_on.notify_one();
        });
        world.client.inner().exchange::<AddLater>(within(SOON)).await.expect("an answer");
    }
}

/// How many of eight calls that nobody answers, and that have half of that time, were refused at once.
async fn refused(world: &World, said: &'static str) -> usize {
    let mut refused = 0;
    for _ in 0..8 {
        let mut request = within(TAKES / 2);
        if let Some((name, value)) = said.split_once(": ") {
            request.metadata_mut().insert(name, value.parse().expect("a value"));
        }
        let failed = world.client.inner().exchange::<AddLater>(request).await.expect_err("nobody goes on");
        assert_eq!(failed.code(), Code::DeadlineExceeded);
        refused += usize::from(failed.message().ends_with("it was not handled"));
    }
    refused
}

#[test]
fn a_call_with_less_time_than_usual_is_refused_at_once_but_for_one_of_eight() {
    run_in_no_time(async {
        let world = world(true);
        assert_eq!(refused(&world, "").await, 0, "nothing is known yet");
        learn(&world).await;
        assert_eq!(refused(&world, "").await, 7);
        assert_eq!(refused(&world, "").await, 7, "what is late is no answer, and changes nothing");
    });
}

#[test]
fn what_is_critical_or_may_have_an_answer_already_is_not_refused_for_its_deadline() {
    run_in_no_time(async {
        let world = world(true);
        learn(&world).await;
        assert_eq!(refused(&world, "x-criticality: critical").await, 0);
        assert_eq!(
            refused(&world, "idempotency-key: k").await,
            0,
            "the first was handled, the others know it"
        );
    });
}

#[test]
fn a_node_that_is_not_told_to_refuses_no_call_for_its_deadline() {
    run_in_no_time(async {
        let world = world(false);
        learn(&world).await;
        assert_eq!(refused(&world, "").await, 0);
    });
}
