//! Rehearsals of a replica that is ill for a while: when it is well again it has its part of the calls.

use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service2::SayHello;
use rehearse::facts::GaugesRead;
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{
    Code, Event, Expect, Failed, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn, matching, promises,
};
use transport::gauges::Gauge;

use crate::{checks, foreign, scenarios};

/// The scenario of a replica that fails each call, then answers none, and then all.
pub(crate) fn ill() -> sim::Scenario {
    drawn("ill", "one of two hosts of service1 fails calls, then hangs, and is well again", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let said = Failed::new(Code::Unavailable, "ill");
    let knows_few = picks.pick("the hosts know", &["all names", "few"]) == "few";
    let replica = || if knows_few { foreign::service1_that_fails(unknown) } else { foreign::service1() };
    let ill = replica()
        // It fails for as long as it takes to be found out, and hangs for as long as it is tried again.
        .falls_ill(1500.ms()..6500.ms(), said, 10_500.ms());
    let are_few = picks.pick("calls at a time", &["any", "two"]) == "two";
    let ill = if are_few { ill.streams_max(2) } else { ill };
    let policy = picks.pick("policy", &["attempts=3", "hedge=true"]);
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let right = || Expect::ok().or(Code::Unavailable).or(Code::DeadlineExceeded).or(Code::NotFound);
    // For longer than the longest of the waits after which it may be tried again.
    let load = Load::new(160, 18_000.ms(), 400.ms()..=800.ms())
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    let scenario = Scenario::new("ill", "", load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("ill", ill);
    let scenario = match knows_few {
        true => scenario.foreign("service1", replica()),
        false => scenario.nodes(&["service1"], scenarios::app),
    };
    scenario
        .workers(1)
        .flags(&["--policy", policy])
        // That it hangs is no fault of the plan, which would explain that calls are late.
        .promises(
            promises::of_calls().except(promises::REPLICAS_SHARE).except(promises::STATUSES_ARE_EXPLAINED),
        )
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("who is well again is not left out", |_: &mut (), event| nobody_is_left_out(event))
}

/// What a host says of names that it does not know: half of them.
fn unknown(name: &str) -> Option<Failed> {
    name.starts_with(|first| first < 'n').then(|| Failed::new(Code::NotFound, "nobody has this name"))
}

/// Gauges are told when all has settled, long after the replica was well again.
fn nobody_is_left_out(event: &Event) -> Result<(), String> {
    let ejected =
        |GaugesRead(reading): &GaugesRead| reading.count(Gauge::CalleeAddresses, "service1", "ejected");
    match event.told().map(ejected) {
        Some(ejected) if ejected > 0 => Err(format!(
            "{} still leaves {ejected} of the two hosts of service1 out; expected none: it has answered for seconds, and \
             who is left out is tried again",
            event.host
        )),
        _ => Ok(()),
    }
}
