//! Draws a plan from a seed: the calls, the faults, the mood of the network.
//!
//! Faults come from a swarm (Groce et al., "Swarm testing", 2012): each seed first picks a random subset of the
//! fault families and then draws only from these, so that families which hide each other also occur alone.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::{SBoxedStrategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::entropy::mix;
use crate::plan::{Fault, FaultKind, Network, Plan, Request};
use crate::scenario::Scenario;

/// What clients call, how often, and how long they are willing to wait.
#[derive(Debug, Clone)]
pub struct Load {
    pub(crate) kinds: Vec<CallKind>,
    pub(crate) calls: RangeInclusive<usize>,
    pub(crate) over: Duration,
    pub(crate) deadline: RangeInclusive<Duration>,
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
    pub fn new(
        calls: RangeInclusive<usize>,
        over: Duration,
        deadline: RangeInclusive<Duration>,
    ) -> Self {
        Self {
            kinds: Vec::new(),
            calls,
            over,
            deadline,
        }
    }

    /// Adds a sort of call: which client makes it, its name, and what it sends.
    #[must_use]
    pub fn kind(
        mut self,
        client: &str,
        kind: &str,
        argument: impl Strategy<Value = String> + Send + Sync + 'static,
    ) -> Self {
        let (client, kind, argument) = (client.to_owned(), kind.to_owned(), argument.sboxed());
        self.kinds.push(CallKind {
            client,
            kind,
            argument,
        });
        self
    }

    fn requests(&self) -> BoxedStrategy<Vec<Request>> {
        if self.kinds.is_empty() {
            return Just(Vec::new()).boxed();
        }
        let at = 0..=millis(self.over);
        let deadline = millis(*self.deadline.start())..=millis(*self.deadline.end());
        let what = prop::sample::select(self.kinds.clone()).prop_flat_map(CallKind::draw);
        let requests = prop::collection::vec((what, at, deadline), self.calls.clone());
        requests.prop_map(|drawn| number(drawn, 1)).boxed()
    }

    /// One call of every sort: what must work again at the end.
    fn probes(&self) -> BoxedStrategy<Vec<Request>> {
        const FIRST_PROBE: u32 = 900_000;
        let deadline = millis(*self.deadline.end());
        let one_each: Vec<_> = self
            .kinds
            .iter()
            .map(|kind| (kind.clone().draw(), Just(0), Just(deadline)))
            .collect();
        one_each
            .prop_map(|drawn| number(drawn, FIRST_PROBE))
            .boxed()
    }
}

impl CallKind {
    fn draw(self) -> impl Strategy<Value = (String, String, String)> {
        (Just(self.client), Just(self.kind), self.argument)
    }
}

type Drawn = ((String, String, String), u64, u64);

fn number(mut drawn: Vec<Drawn>, first: u32) -> Vec<Request> {
    drawn.sort_by_key(|(_, at, _)| *at);
    let request = |(((client, kind, argument), at, deadline), id): (Drawn, u32)| {
        let (at, deadline) = (Duration::from_millis(at), Duration::from_millis(deadline));
        Request {
            id,
            at,
            client,
            kind,
            argument,
            deadline,
        }
    };
    drawn.into_iter().zip(first..).map(request).collect()
}

/// The families of faults that a swarm can draw from, one for each [`FaultKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "documented at the variants of FaultKind of the same names"
)]
pub enum Family {
    Partition,
    PartitionOneWay,
    Hold,
    SlowLink,
    Reset,
    PowerLoss,
    Kill,
    Pause,
    ClockSkew,
    ClockDrift,
    ClockJump,
    SlowHandler,
    PanickingHandler,
    FullService,
    Drain,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Partition,
        Self::PartitionOneWay,
        Self::Hold,
        Self::SlowLink,
        Self::Reset,
        Self::PowerLoss,
        Self::Kill,
        Self::Pause,
        Self::ClockSkew,
        Self::ClockDrift,
        Self::ClockJump,
        Self::SlowHandler,
        Self::PanickingHandler,
        Self::FullService,
        Self::Drain,
    ];

    fn is_of_link(self) -> bool {
        matches!(
            self,
            Self::Partition | Self::PartitionOneWay | Self::Hold | Self::SlowLink | Self::Reset
        )
    }

    /// Makes the fault, at the link or on the host, with an amount from 0 to 1 and a direction.
    fn make(self, link: (String, String), host: String, amount: f64, back: bool) -> FaultKind {
        let (a, b) = if back { (link.1, link.0) } else { link };
        let sign = if back { -1.0 } else { 1.0 };
        let scaled =
            |range: RangeInclusive<f64>| range.start() + amount * (range.end() - range.start());
        let millis = |range| Duration::from_millis(scaled(range) as u64);
        match self {
            Self::Partition => FaultKind::Partition { a, b },
            Self::PartitionOneWay => FaultKind::PartitionOneWay { a, b },
            Self::Hold => FaultKind::Hold { a, b },
            Self::SlowLink => FaultKind::SlowLink {
                a,
                b,
                latency: millis(20.0..=400.0),
            },
            Self::Reset => FaultKind::Reset { a, b },
            Self::PowerLoss => FaultKind::PowerLoss { host },
            Self::Kill => FaultKind::Kill { host },
            Self::Pause => FaultKind::Pause { host },
            Self::ClockSkew => FaultKind::ClockSkew {
                host,
                by_ms: (sign * scaled(1.0..=600_000.0)) as i64,
            },
            Self::ClockDrift => FaultKind::ClockDrift {
                host,
                ppm: (sign * scaled(10.0..=200_000.0)) as i64,
            },
            Self::ClockJump => FaultKind::ClockJump {
                host,
                by_ms: (sign * scaled(1_000.0..=86_400_000.0)) as i64,
            },
            Self::SlowHandler => FaultKind::SlowHandler {
                host,
                delay: millis(10.0..=600.0),
            },
            Self::PanickingHandler => FaultKind::PanickingHandler { host },
            Self::FullService => FaultKind::FullService { host },
            Self::Drain => FaultKind::Drain { host },
        }
    }
}

/// Which faults may happen, where, and for how long.
#[derive(Debug, Clone)]
pub struct Swarm {
    families: Vec<Family>,
    links: Vec<(String, String)>,
    hosts: Vec<String>,
    count: RangeInclusive<usize>,
    within: Duration,
    lasts: RangeInclusive<Duration>,
}

impl Swarm {
    /// So many faults, beginning within a time, each lasting as long as the range has it. It knows no place yet.
    #[must_use]
    pub fn new(
        count: RangeInclusive<usize>,
        within: Duration,
        lasts: RangeInclusive<Duration>,
    ) -> Self {
        let (links, hosts) = (Vec::new(), Vec::new());
        Self {
            families: Family::ALL.to_vec(),
            links,
            hosts,
            count,
            within,
            lasts,
        }
    }

    /// No faults at all.
    #[must_use]
    pub fn calm() -> Self {
        Self::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO)
    }

    /// Draws from these families only.
    #[must_use]
    pub fn only(mut self, families: &[Family]) -> Self {
        self.families = families.to_vec();
        self
    }

    /// Adds a link on which link faults may happen.
    #[must_use]
    pub fn link(mut self, a: &str, b: &str) -> Self {
        self.links.push((a.to_owned(), b.to_owned()));
        self
    }

    /// Adds a host on which host faults may happen.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }

    /// The faults of one rehearsal.
    pub fn faults(&self) -> BoxedStrategy<Vec<Fault>> {
        let possible: Vec<_> = self
            .families
            .iter()
            .copied()
            .filter(|family| self.has_place_for(*family))
            .collect();
        if possible.is_empty() || *self.count.end() == 0 {
            return Just(Vec::new()).boxed();
        }
        let swarm = self.clone();
        let some_families = 1..=possible.len();
        let subset = prop::sample::subsequence(possible, some_families);
        subset
            .prop_flat_map(move |families| swarm.faults_of(families))
            .boxed()
    }

    fn has_place_for(&self, family: Family) -> bool {
        if family.is_of_link() {
            !self.links.is_empty()
        } else {
            !self.hosts.is_empty()
        }
    }

    fn faults_of(&self, families: Vec<Family>) -> impl Strategy<Value = Vec<Fault>> + use<> {
        let family = prop::sample::select(families);
        let times = (
            0..=millis(self.within),
            millis(*self.lasts.start())..=millis(*self.lasts.end()),
        );
        let place = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
        let amount = (0.0..1.0, any::<bool>());
        let (links, hosts) = (self.links.clone(), self.hosts.clone());
        let fault = (family, times, place, amount).prop_map(
            move |(family, (from, lasts), place, amount)| {
                let pick = |index: prop::sample::Index, count: usize| index.index(count.max(1));
                let link = links
                    .get(pick(place.0, links.len()))
                    .cloned()
                    .unwrap_or_default();
                let host = hosts
                    .get(pick(place.1, hosts.len()))
                    .cloned()
                    .unwrap_or_default();
                // A reset is over as soon as it has happened.
                let lasts = if family == Family::Reset { 0 } else { lasts };
                let (from, lasts) = (Duration::from_millis(from), Duration::from_millis(lasts));
                Fault {
                    from,
                    lasts,
                    what: family.make(link, host, amount.0, amount.1),
                }
            },
        );
        let faults = prop::collection::vec(fault, self.count.clone());
        faults.prop_map(|mut faults| {
            faults.sort_by_key(|fault| fault.from);
            faults
        })
    }
}

/// The plan that follows from `seed`.
pub(crate) fn plan(scenario: &Scenario, seed: u64, mutant: Option<&str>) -> Plan {
    let mut bytes = [0; 32];
    for (place, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&mix(seed.wrapping_add(place as u64 + 1)).to_le_bytes());
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
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
        network: Network {
            latency_min,
            latency_max,
            yield_percent,
        },
        faults: draw(&mut runner, &scenario.swarm.faults()),
        requests: draw(&mut runner, &scenario.load.requests()),
        probes: draw(&mut runner, &scenario.load.probes()),
    }
}

fn network(scenario: &Scenario) -> impl Strategy<Value = (Duration, Duration, u8)> + use<> {
    let latency_max = millis(scenario.latency_max);
    let latency = (0..=latency_max / 2, latency_max / 2..=latency_max);
    // Half of all seeds keep tokio's own order, so that bugs which need it are found as well.
    let yields = prop_oneof![Just(0), 1_u8..=30];
    (latency, yields).prop_map(|((min, max), yields)| {
        (
            Duration::from_millis(min),
            Duration::from_millis(max),
            yields,
        )
    })
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    let tree = strategy
        .new_tree(runner)
        .expect("no strategy of ours rejects what it draws");
    tree.current()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(seed: u8) -> Vec<Fault> {
        let second = Duration::from_secs(1);
        let swarm = Swarm::new(1..=6, second, Duration::ZERO..=second)
            .link("a", "b")
            .host("b");
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        draw(
            &mut TestRunner::new_with_rng(Config::default(), rng),
            &swarm.faults(),
        )
    }

    #[test]
    fn a_seed_draws_the_same_faults_each_time() {
        assert_eq!(faults(3), faults(3));
        assert_ne!(faults(3), faults(4));
    }

    #[test]
    fn every_family_is_drawn_by_some_seed() {
        let drawn: std::collections::BTreeSet<_> = (0..200)
            .flat_map(faults)
            .map(|fault| fault.what.name())
            .collect();
        assert_eq!(drawn.len(), Family::ALL.len(), "{drawn:?}");
    }

    #[test]
    fn a_plan_survives_its_file() {
        let network = Network {
            latency_min: Duration::ZERO,
            latency_max: Duration::from_millis(5),
            yield_percent: 3,
        };
        let plan = Plan {
            scenario: "s".to_owned(),
            seed: 1,
            mutant: None,
            options: [("hosts".to_owned(), "two".to_owned())].into(),
            network,
            faults: (0..20).flat_map(faults).collect(),
            requests: Vec::new(),
            probes: Vec::new(),
        };
        let text = plan.to_toml().unwrap();
        assert_eq!(Plan::from_toml(&text).unwrap(), plan, "{text}");
    }
}
