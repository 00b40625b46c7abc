//! Draws a plan from a seed: the calls, the faults, the mood of the network.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::{SBoxedStrategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::entropy::mix;
use crate::plan::{Network, Plan, Request};
use crate::scenario::Scenario;

/// What clients call, how often, and how long they are willing to wait.
#[derive(Debug, Clone)]
pub struct Load {
    pub(crate) kinds: Vec<CallKind>,
    pub(crate) calls: RangeInclusive<usize>,
    pub(crate) over: Duration,
    pub(crate) deadline: RangeInclusive<Duration>,
    pub(crate) in_flight_max: Option<usize>,
}

/// One sort of call.
#[derive(Debug, Clone)]
pub(crate) struct CallKind {
    client: String,
    kind: String,
    argument: SBoxedStrategy<String>,
}

impl Load {
    /// So many calls, spread evenly over a time, each with a deadline within the range.
    #[must_use]
    pub fn new(calls: RangeInclusive<usize>, over: Duration, deadline: RangeInclusive<Duration>) -> Self {
        Self { kinds: Vec::new(), calls, over, deadline, in_flight_max: None }
    }

    /// Lets clients wait with the next call while so many wait for their replies: a closed loop.
    #[must_use]
    pub fn in_flight_max(self, most: usize) -> Self {
        Self { in_flight_max: Some(most), ..self }
    }

    /// Adds a sort of call: which client makes it, its name, and a regular expression for what it sends.
    ///
    /// # Panics
    /// When `argument` is no regular expression that proptest can draw from.
    #[must_use]
    pub fn kind(mut self, client: &str, kind: &str, argument: &str) -> Self {
        // Read here: a strategy made of the text would read it again for each argument of each seed.
        let argument = string_regex(argument).expect("proptest can draw from this expression").sboxed();
        let (client, kind) = (client.to_owned(), kind.to_owned());
        self.kinds.push(CallKind { client, kind, argument });
        self
    }

    fn requests(&self, runner: &mut TestRunner) -> Vec<Request> {
        if self.kinds.is_empty() {
            return Vec::new();
        }
        let deadline = millis(*self.deadline.start())..=millis(*self.deadline.end());
        let request = (0..self.kinds.len(), 0..=millis(self.over), deadline);
        let mut drawn = draw(runner, &prop::collection::vec(request, self.calls.clone()));
        drawn.sort_by_key(|(_, at, _)| *at);
        let request = |((kind, at, deadline), id): ((usize, _, _), _)| {
            self.kinds[kind].request(runner, id, at, deadline)
        };
        drawn.into_iter().zip(1..).map(request).collect()
    }

    /// One call of every sort: what must work again at the end.
    fn probes(&self, runner: &mut TestRunner) -> Vec<Request> {
        const FIRST_PROBE: u32 = 900_000;
        let deadline = millis(*self.deadline.end());
        let kinds = self.kinds.iter().zip(FIRST_PROBE..);
        kinds.map(|(kind, id)| kind.request(runner, id, 0, deadline)).collect()
    }
}

impl CallKind {
    fn request(&self, runner: &mut TestRunner, id: u32, at: u64, deadline: u64) -> Request {
        let (at, deadline) = (Duration::from_millis(at), Duration::from_millis(deadline));
        let (client, kind) = (self.client.clone(), self.kind.clone());
        Request { id, at, client, kind, argument: draw(runner, &self.argument), deadline }
    }
}

/// The plan that follows from `seed`, with the planted bug of this name switched on.
#[must_use]
pub fn plan(scenario: &Scenario, seed: u64, mutant: Option<&str>) -> Plan {
    let mut bytes = [0; 32];
    for (place, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&mix(seed.wrapping_add(place as u64 + 1)).to_le_bytes());
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let (latency_min, latency_max, yield_percent) = draw(&mut runner, &network(scenario));
    let option = |(name, choices): &(String, Vec<String>)| {
        let choice = draw(&mut runner, &prop::sample::select(choices.clone()));
        (name.clone(), choice)
    };
    let options = scenario.options.iter().map(option).collect();
    Plan {
        scenario: scenario.name.clone(),
        seed,
        mutant: mutant.map(str::to_owned),
        options,
        network: Network { latency_min, latency_max, yield_percent },
        faults: draw(&mut runner, &scenario.swarm.faults()),
        in_flight_max: scenario.load.in_flight_max,
        requests: scenario.load.requests(&mut runner),
        probes: scenario.load.probes(&mut runner),
    }
}

fn network(scenario: &Scenario) -> impl Strategy<Value = (Duration, Duration, u8)> + use<> {
    let latency_max = millis(scenario.latency_max);
    let latency = (0..=latency_max / 2, latency_max / 2..=latency_max);
    // Half of all seeds keep tokio's own order, so that bugs which need it are found as well.
    let yields = prop_oneof![Just(0), 1_u8..=30];
    (latency, yields)
        .prop_map(|((min, max), yields)| (Duration::from_millis(min), Duration::from_millis(max), yields))
}

pub(crate) fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    let tree = strategy.new_tree(runner).expect("no strategy of ours rejects what it draws");
    tree.current()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, FaultKind};

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
        let load = Load::new(3..=3, second, second..=second).kind("client", "kind", "[a-z\"]{3}");
        let mut runner = TestRunner::deterministic();
        let plan = Plan {
            scenario: "s".to_owned(),
            seed: 1,
            mutant: None,
            options: [("hosts".to_owned(), "two".to_owned())].into(),
            network: Network { latency_min: Duration::ZERO, latency_max: second, yield_percent: 3 },
            faults: kinds.map(fault).to_vec(),
            in_flight_max: Some(4),
            requests: load.requests(&mut runner),
            probes: load.probes(&mut runner),
        };
        let text = plan.to_toml().unwrap();
        assert_eq!(Plan::from_toml(&text).unwrap(), plan, "{text}");
    }
}
