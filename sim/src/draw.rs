//! Draws a plan from a seed: the calls, the faults, the mood of the network.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::entropy::mix;
use crate::load::draw;
use crate::picks::Picks;
use crate::plan::time::millis;
use crate::plan::{Network, Plan};
use crate::scenario::Scenario;

/// The plan that follows from `seed`, for a program with the planted bug of this name.
#[must_use]
pub fn plan(scenario: &Scenario, seed: u64, planted: Option<&str>) -> Plan {
    let mut bytes = [0; 32];
    for (number, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&mix(seed.wrapping_add(number as u64 + 1)).to_le_bytes());
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let mut picks = Picks::drawn(&mut runner);
    let world = scenario.world(&mut picks);
    let options = picks.end().expect("what is drawn is one of the choices");
    let mut plan = Plan {
        scenario: scenario.name.clone(),
        seed,
        planted: planted.map(str::to_owned),
        options,
        network: Network { latency_min: Duration::ZERO, latency_max: Duration::ZERO, yield_percent: 0 },
        faults: Vec::new(),
        in_flight_max: None,
        requests: Vec::new(),
        probes: Vec::new(),
    };
    // Of a world that is wrong nothing can be drawn. Whoever plays the plan is told why.
    if world.wrong().is_none() {
        fill(&mut plan, &world, &mut runner);
    }
    plan
}

fn fill(plan: &mut Plan, world: &Scenario, runner: &mut TestRunner) {
    let (latency_min, latency_max, yield_percent) = draw(runner, &network(world));
    plan.network = Network { latency_min, latency_max, yield_percent };
    let option = |(name, choices): &(String, Vec<String>)| {
        let choice = draw(runner, &prop::sample::select(choices.clone()));
        (name.clone(), choice)
    };
    plan.options.extend(world.options.iter().map(option));
    plan.faults = draw(runner, &world.swarm.faults());
    plan.in_flight_max = world.load.in_flight_max;
    plan.requests = world.load.requests(runner);
    plan.probes = world.load.probes(runner);
    world.load.draw_along(runner, &mut plan.requests, &mut plan.probes);
}

fn network(scenario: &Scenario) -> impl Strategy<Value = (Duration, Duration, u8)> + use<> {
    let latency_max = millis(scenario.latency_max);
    let latency = (0..=latency_max / 2, latency_max / 2..=latency_max);
    // Half of all seeds keep tokio's own order, so that bugs which need it are found as well.
    let yields = prop_oneof![Just(0), 1_u8..=30];
    (latency, yields)
        .prop_map(|((min, max), yields)| (Duration::from_millis(min), Duration::from_millis(max), yields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Beside, Load, matching};
    use crate::plan::{Fault, FaultKind};

    #[test]
    fn calls_beside_a_load_send_what_is_theirs_and_no_ids_where_they_have_none() {
        let second = Duration::from_secs(1);
        let beside = |client: &str| Beside::new(client, vec!["kind".to_owned()], (2, second), second);
        let load = Load::new(2..=2, second, second..=second)
            .kind("client", "kind", matching("[a-z]"))
            .ids(Just(Some("an id".to_owned())))
            .beside(beside("one").arguments(matching("[0-9]")).nameless())
            .beside(beside("other"));
        let mut runner = TestRunner::deterministic();
        let mut requests = load.requests(&mut runner);
        load.draw_along(&mut runner, &mut requests, &mut []);
        let of = |client: &'static str| requests.iter().filter(move |request| request.client == client);
        assert!(of("one").all(|request| request.id_sent().is_none() && request.argument.len() == 1));
        assert!(of("other").all(|request| request.id_sent().is_some() && request.argument.is_empty()));
        let numbers: std::collections::BTreeSet<_> = requests.iter().map(|request| request.id).collect();
        assert_eq!((of("one").count(), of("other").count(), numbers.len()), (2, 2, 6));
    }

    #[test]
    fn a_plan_survives_its_file() {
        let second = Duration::from_secs(1);
        let host = || "a".to_owned();
        let kinds = [
            FaultKind::Kill { host: host() },
            FaultKind::SlowLink { a: host(), b: host(), latency: second },
            FaultKind::ClockSkew { host: host(), by_ms: -3 },
        ];
        let fault = |what| Fault { from: second, lasts: second * 2, what };
        let load = Load::new(3..=3, second, second..=second)
            .kind("client", "kind", matching("[a-z\"]{3}"))
            .ids(prop::option::of(matching("[\t -~é]{0,3}")))
            .metadata(prop::collection::vec((matching("x-[a-z]"), matching("[ -~]{3}")), 2));
        let mut runner = TestRunner::deterministic();
        let mut plan = Plan {
            scenario: "s".to_owned(),
            seed: 1,
            planted: None,
            options: [("hosts".to_owned(), "two".to_owned())].into(),
            network: Network { latency_min: Duration::ZERO, latency_max: second, yield_percent: 3 },
            faults: kinds.map(fault).to_vec(),
            in_flight_max: Some(4),
            requests: load.requests(&mut runner),
            probes: load.probes(&mut runner),
        };
        load.draw_along(&mut runner, &mut plan.requests, &mut plan.probes);
        let text = plan.to_toml().unwrap();
        assert_eq!(Plan::from_toml(&text).unwrap(), plan, "{text}");
    }
}
