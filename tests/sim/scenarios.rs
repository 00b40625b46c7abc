//! What is rehearsed.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use sim::{
    EndsByDeadline, Family, HostContext, HostResult, Load, LogsKnowTheirCaller, ReplyCarriesId, Scenario,
    Swarm, matching,
};

use crate::{checks, clients, deadlines, faults, grpc_client, handlers, hosts, house, statuses};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const TWO: &[&str] = &["--services", "service2", "--peer", "service1=http://service1:50051"];
const TWO_OF_PAIR: &[&str] =
    &["--services", "service2", "--peer", "service1=http://service1:50051,http://spare1:50051"];
const TWO_OF_PAIR_REVERSED: &[&str] =
    &["--services", "service2", "--peer", "service1=http://spare1:50051,http://service1:50051"];
const ONE: &[&str] = &["--services", "service1"];

/// How many calls a node takes on at once: few, so that some are refused.
const ADMITTED: usize = 12;

/// The names in calls: long enough that hardly two calls of a plan share one, so that whose it is can be told.
const NAME: &str = "[a-z]{4,8}";

/// Forty calls in less than half a second: short rehearsals find most, and calls that overlap find more.
fn load() -> Load {
    Load::new(40..=40, ms(300), ms(200)..=ms(800))
        .kind("rest", "hello", matching(NAME))
        .kind("grpc", "hello", matching(NAME))
        .kind("grpc", "name", matching(NAME))
}

fn any_faults() -> Swarm {
    Swarm::new(1..=4, ms(250), ms(20)..=ms(350))
        .link("service2", "service1")
        .link(sim::CLIENTS, "service2")
        .host("service1")
        .host("service2")
}

fn node(name: &str, about: &str, swarm: Swarm) -> Scenario {
    two_nodes(name, about, load(), swarm, ADMITTED)
}

/// Two nodes, one service each, that take on `admitted` calls at once, and all that must hold of them.
pub(crate) fn two_nodes(name: &str, about: &str, load: Load, swarm: Swarm, admitted: usize) -> Scenario {
    build(name, about, load, swarm, admitted).host("service2", hosts::node(TWO, admitted))
}

fn build(name: &str, about: &str, load: Load, swarm: Swarm, admitted: usize) -> Scenario {
    Scenario::new(name, about, load, swarm)
        .host("service1", hosts::node(ONE, admitted))
        .client("rest", clients::rest)
        .client("grpc", grpc_client::grpc)
        .tick(faults::TICK)
        .latency_max(faults::LATENCY_MAX)
        .recovers_within(ms(5000))
        .request_id_of_line(id_of_call)
        .invariant(|| EndsByDeadline::with_grace(ms(4)))
        .invariant(ReplyCarriesId::default)
        .invariant(LogsKnowTheirCaller::default)
        .invariant(handlers::LinesAreAboutTheirCalls::default)
        .invariant(move || statuses::StatusesAreExplained::new(admitted))
        .invariant(deadlines::DeadlinesShrink::default)
        .invariant(deadlines::EdgesKeepDeadlines::default)
        .invariant(deadlines::EndsInTime::edges)
        .invariant(deadlines::EndsInTime::handlers)
        .invariant(handlers::HandlersEndWithTheirCalls::default)
        .invariant(move || house::NoMoreThanAdmitted::new(admitted))
        .invariant(handlers::HandledOnceOrNotAtAll::default)
        .every_call("every reply belongs to its request", checks::right_value)
}

/// The id of the call that is handled where a line is said.
fn id_of_call() -> Option<String> {
    transport::CallContext::with_current(|call| Some(call?.request_id().as_str().to_owned()))
}

/// The seed chooses which of two hosts of service1 is asked first.
fn by_addresses() -> impl Fn(HostContext) -> LocalBoxFuture<'static, HostResult> {
    let first = hosts::node(TWO_OF_PAIR, ADMITTED);
    let last = hosts::node(TWO_OF_PAIR_REVERSED, ADMITTED);
    move |host| if host.option("addresses") == Some("spare1 first") { last(host) } else { first(host) }
}

/// Long, since a node reads the clock twice a second: for the `date` of its REST answers.
fn clocks() -> Swarm {
    Swarm::new(1..=4, ms(200), ms(400)..=ms(900)).host("service1").host("service2").only(&[
        Family::ClockSkew,
        Family::ClockDrift,
        Family::ClockJump,
    ])
}

/// All scenarios.
pub(crate) fn all() -> Vec<Scenario> {
    let between = || Swarm::new(1..=2, ms(250), ms(100)..=ms(700)).link("service2", "service1");
    let drains = || Swarm::new(1..=2, ms(250), ms(400)..=ms(800)).host("service1").only(&[Family::Drain]);
    let at_service1 = || Swarm::new(1..=2, ms(250), ms(50)..=ms(700)).host("service1");
    vec![
        node("calm", "nothing goes wrong", Swarm::calm())
            .every_call("in calm, every call works", checks::works),
        node(
            "partition",
            "service2 and service1 cannot reach each other",
            // Long enough for a dead connection to be found, and for a new one to be waited for in vain.
            Swarm::new(1..=2, ms(250), ms(300)..=ms(2000)).link("service2", "service1").only(&[
                Family::Partition,
                Family::PartitionOneWay,
                Family::Hold,
            ]),
        ),
        node(
            "crash",
            "service1 dies, and comes back with no memory",
            at_service1().only(&[Family::PowerLoss, Family::Kill, Family::SlowHandler]),
        ),
        node(
            "slow",
            "a slow link, a slow or busy service1, against the deadline",
            between().host("service1").only(&[
                Family::SlowLink,
                Family::SlowHandler,
                Family::FullService,
                Family::Pause,
            ]),
        ),
        node("drain", "service1 drains and restarts under load", drains())
            .invariant(handlers::DrainsLoseNothing::default),
        build(
            "drain-one-of-two",
            "one of two hosts of service1 drains: no call is lost",
            load_of_two(),
            drains(),
            ADMITTED,
        )
        .host("spare1", hosts::node(ONE, ADMITTED))
        .option("addresses", &["service1 first", "spare1 first"])
        .host("service2", by_addresses())
        .every_call("with another host there, a drain loses no call", checks::works),
        node("clocks", "wall clocks are skewed, drift and jump", clocks())
            .every_call("a wrong clock changes nothing", checks::works),
        node("panics", "handlers panic", any_faults().only(&[Family::PanickingHandler, Family::SlowHandler])),
        node("storm", "everything at once", any_faults()),
    ]
}

/// Calls of `service2` only: what a client makes of its own connections is not what is rehearsed here.
fn load_of_two() -> Load {
    Load::new(40..=40, ms(400), ms(300)..=ms(800)).kind("rest", "hello", matching(NAME)).kind(
        "grpc",
        "hello",
        matching(NAME),
    )
}
