//! What an answer, or the lack of one, shows of the endpoint that it comes from: who cannot answer is left out, who has no
//! room or is slow is asked less, and who says no has answered.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::callee::{Callee, Say};
use common::carrier::idempotent;
use common::ways::Ways;
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use h2::Reason;
use probe_contract::CountRequest;
use probe_contract::probe::Count;
use protos::app::grpc::ProcessNameRequest;
use protos::app::grpc::service1::ProcessName;
use tokio::time::{sleep, timeout};
use transport::gauges::Gauge;
use transport::grpc::{Grpc, Keepalive};
use transport::{Client, Code, Gauges, Net};

/// A while in which no endpoint answers that hangs.
const A_WHILE: Duration = Duration::from_millis(100);

/// So many calls at once that half of them, and more than an outlier fails in a row, come to one of two endpoints.
const MANY: usize = 40;

/// Two endpoints that share calls. One answers, and the other says what it is told to.
struct World {
    other: Callee,
    says: Rc<Cell<Say>>,
    client: Client,
    gauges: Gauges,
    _sound: Callee,
}

impl World {
    async fn new() -> Self {
        const TAKES: Duration = Duration::from_millis(1);
        let says = Rc::new(Cell::new(Say::Yes));
        let told = Rc::clone(&says);
        let (sound, to_sound) = Callee::in_memory(1, TAKES, |_| Say::Yes);
        let (other, to_other) = Callee::in_memory(2, TAKES, move |_| told.get());
        let addresses = [&to_sound, &to_other].map(|(address, _)| address.clone());
        let (net, gauges) = (Arc::new(Ways(vec![to_sound, to_other])) as Arc<dyn Net>, Gauges::new());
        let carrier = Grpc::new("service1", &addresses, &net, Keepalive::default(), LIMITS.message_size);
        carrier.watch(&gauges);
        let client = Client::new(carrier, SOON, LIMITS);
        let world = Self { other, says, client, gauges, _sound: sound };
        assert!(world.share().await > 0, "it is asked while it answers");
        world
    }

    /// How many of many calls, one after the other, come to the other endpoint, which answers them.
    async fn share(&self) -> usize {
        self.says.set(Say::Yes);
        let before = self.other.count();
        for _ in 0..MANY {
            idempotent(&self.client).await.expect("both answer");
        }
        self.other.count() - before
    }

    fn is_ejected(&self) -> bool {
        self.gauges.read().count(Gauge::CalleeAddresses, "service1", "ejected") == 1
    }

    /// Has a stream that begins well, until it ends in one way or another.
    async fn hears_a_stream(&self) {
        let answer = self.client.call::<Count>(CountRequest::default()).await.expect("it begins");
        answer.collect::<Vec<_>>().await;
    }

    /// Makes many calls at once, to which the other says that; each is given so long.
    async fn hears(&self, says: Say, limit: Duration) {
        self.says.set(says);
        let call = async || {
            let mut request = tonic::Request::new(ProcessNameRequest::default());
            request.set_timeout(limit);
            self.client.exchange::<ProcessName>(request).await.ok();
        };
        join_all((0..MANY).map(|_| call())).await;
    }
}

#[test]
fn an_endpoint_that_cannot_answer_is_left_out() {
    for (says, limit) in [
        (Say::No(Code::Unavailable, None), SOON),
        (Say::No(Code::DeadlineExceeded, None), SOON),
        (Say::Breaks(Code::Unavailable), SOON),
        (Say::Http(502), SOON),
        (Say::Http(503), SOON),
        (Say::Http(504), SOON),
        (Say::HangsUp, SOON),
        (Say::Resets(Reason::INTERNAL_ERROR), SOON),
        (Say::Nothing, A_WHILE),
    ] {
        run_in_no_time(async {
            let world = World::new().await;
            world.hears(says, limit).await;
            assert!(world.is_ejected(), "{says:?}");
        });
    }
}

#[test]
fn an_endpoint_that_has_no_room_is_asked_less_for_a_while_and_not_left_out() {
    for says in [
        Say::No(Code::ResourceExhausted, None),
        Say::Breaks(Code::ResourceExhausted),
        Say::Http(429),
        Say::Refused,
        Say::Resets(Reason::ENHANCE_YOUR_CALM),
    ] {
        run_in_no_time(async {
            let world = World::new().await;
            world.hears(says, SOON).await;
            assert_eq!((world.is_ejected(), world.share().await), (false, 0), "{says:?}");
        });
    }
}

#[test]
fn an_endpoint_is_asked_less_for_a_second_or_for_as_long_as_it_says() {
    for (pushback, seconds) in [(None, 1), (Some("-1"), 1), (Some("3000"), 3)] {
        run_in_no_time(async {
            let world = World::new().await;
            world.hears(Say::No(Code::ResourceExhausted, pushback), SOON).await;
            sleep(Duration::from_secs(seconds) - A_WHILE).await;
            assert_eq!(world.share().await, 0, "{pushback:?}");
            sleep(A_WHILE).await;
            assert!(world.share().await > 0, "{pushback:?}");
        });
    }
}

#[test]
fn an_endpoint_that_says_no_has_answered() {
    for says in [
        Say::No(Code::Internal, None),
        Say::No(Code::NotFound, None),
        Say::Breaks(Code::Internal),
        Say::Http(404),
        Say::Http(500),
        Say::Resets(Reason::CANCEL),
    ] {
        run_in_no_time(async {
            let world = World::new().await;
            world.hears(says, SOON).await;
            assert!(!world.is_ejected() && world.share().await > 0, "{says:?}");
        });
    }
}

#[test]
fn an_endpoint_whose_calls_are_given_up_is_asked_less_and_not_left_out() {
    run_in_no_time(async {
        let world = World::new().await;
        timeout(A_WHILE, world.hears(Say::Nothing, SOON)).await.expect_err("they are given up");
        let share = world.share().await;
        assert!(!world.is_ejected() && share < MANY / 8, "{share}");
    });
}

#[test]
fn an_endpoint_that_was_left_out_is_tried_again_where_the_call_that_tried_it_was_given_up() {
    run_in_no_time(async {
        let world = World::new().await;
        world.hears(Say::No(Code::Unavailable, None), SOON).await;
        sleep(Duration::from_millis(1300)).await;
        world.says.set(Say::Nothing);
        timeout(A_WHILE, idempotent(&world.client)).await.expect_err("it tries the other");
        assert!(world.is_ejected());
        assert!(world.share().await > 0 && !world.is_ejected());
    });
}

#[test]
fn an_endpoint_is_asked_less_for_a_while_whose_streams_begin_well_and_break() {
    run_in_no_time(async {
        let world = World::new().await;
        world.says.set(Say::Breaks(Code::Unavailable));
        for _ in 0..MANY {
            world.hears_a_stream().await;
        }
        assert_eq!((world.is_ejected(), world.share().await), (false, 0));
    });
}

#[test]
fn an_endpoint_whose_streams_begin_well_and_always_break_is_left_out() {
    run_in_no_time(async {
        let world = World::new().await;
        world.says.set(Say::Breaks(Code::Unavailable));
        for _ in 0..MANY {
            world.hears_a_stream().await;
            if world.is_ejected() {
                return;
            }
            // It is asked less for so long.
            sleep(Duration::from_secs(1)).await;
        }
        panic!("{} streams have come to it", world.other.count());
    });
}

#[test]
fn an_endpoint_whose_streams_go_on_until_their_deadlines_is_not_left_out() {
    run_in_no_time(async {
        let world = World::new().await;
        world.says.set(Say::Breaks(Code::DeadlineExceeded));
        for _ in 0..MANY {
            world.hears_a_stream().await;
            assert!(!world.is_ejected());
            sleep(Duration::from_secs(1)).await;
        }
    });
}
