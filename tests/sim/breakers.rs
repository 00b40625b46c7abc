//! Rehearsals of what holds calls back: a breaker, where a service fails as a whole, and a limit of calls in flight that
//! follows the callee.

use std::time::Duration;

use protos::app::grpc::service1::{ProcessName, Service1};
use protos::app::grpc::service2::SayHello;
use protos::app::grpc::{ProcessNameResponse, SayHelloRequest};
use rehearse::facts::GaugesRead;
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{
    Code, Event, Expect, Family, Foreign, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn, matching,
    promises,
};
use transport::gauges::Gauge;

use crate::{checks, scenarios};

/// The longest wait of a breaker, and time for the backoff of connections to end that grew meanwhile.
const RECOVERS_WITHIN: Duration = Duration::from_secs(20);

/// The limit that an adaptive one begins with.
const FIRST_LIMIT: usize = 20;

/// The scenario of a service that fails as a whole, again and again.
pub(crate) fn breakers() -> sim::Scenario {
    drawn(
        "breakers",
        "the only host of service1 fails: service2 leaves it alone until it works again",
        broken,
    )
}

fn broken(picks: &mut Picks<'_>) -> Scenario {
    let breaker = picks.pick("breaker", &["2", "1", "4"]);
    let attempts = picks.pick("attempts", &[1, 3]);
    let limit = picks.pick("max-in-flight", &["none", "adaptive"]);
    let policy = format!("breaker={breaker};attempts={attempts};max-in-flight={limit}");
    let swarm =
        Swarm::new(1..=4, 8000.ms(), 200.ms()..=3000.ms()).link("service2", "service1").host("service1");
    let swarm = swarm.only(&[
        Family::Partition,
        Family::Hold,
        Family::SlowLink,
        Family::PowerLoss,
        Family::Kill,
        Family::Drain,
        Family::SlowHandler,
        Family::FullService,
        Family::PanickingHandler,
    ]);
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    // A limit that has shrunk holds back what would be too much.
    let right = || match limit {
        "adaptive" => Expect::ok().or(Code::ResourceExhausted),
        _ => Expect::ok(),
    };
    let load = Load::new(100, 10_000.ms(), 300.ms()..=1000.ms())
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    Scenario::new("breakers", "", load, swarm)
        .nodes(&["service2", "service1"], scenarios::app)
        .workers(1)
        .flags(&["--policy", &policy])
        .recovers_within(RECOVERS_WITHIN)
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("when all has healed, no breaker is open", |_: &mut (), event| all_are_closed(event))
}

/// Gauges are told when all has settled: then calls have worked.
fn all_are_closed(event: &Event) -> Result<(), String> {
    let open = |GaugesRead(reading): &GaugesRead| {
        let of = |state| reading.count(Gauge::CalleeBreakers, "service1", state);
        of("open") + of("probing")
    };
    match event.told().map(open) {
        Some(open) if open > 0 => Err(format!("{open} of {} are not closed", event.host)),
        _ => Ok(()),
    }
}

/// The scenario of a callee that has room for more calls than its caller may make at first.
pub(crate) fn limits() -> sim::Scenario {
    drawn("limits", "service1 takes its time, and as many calls as there are: its caller finds out", limited)
}

fn limited(picks: &mut Picks<'_>) -> Scenario {
    let service1 = Foreign::of::<Service1>()
        .answer::<ProcessName>(|request| Ok(ProcessNameResponse { name: request.name.to_uppercase() }))
        .takes(picks.pick("takes ms", &[100, 60, 150]).ms());
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let right = || Expect::ok().or(Code::ResourceExhausted);
    let load = Load::new(300, 750.ms(), 400.ms()..=800.ms())
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    Scenario::new("limits", "", load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", service1)
        .workers(1)
        .flags(&["--policy", "max-in-flight=adaptive"])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("a callee that has room is found to have it", |_: &mut (), event| has_grown(event))
}

fn has_grown(event: &Event) -> Result<(), String> {
    let limit = |GaugesRead(reading): &GaugesRead| reading.count(Gauge::CalleeLimit, "service1", "most");
    match event.told().map(limit) {
        Some(limit) if limit <= FIRST_LIMIT => Err(format!(
            "{} lets {limit} calls out at once, and its callee has never kept one waiting; expected more than \
             {FIRST_LIMIT}",
            event.host
        )),
        _ => Ok(()),
    }
}
