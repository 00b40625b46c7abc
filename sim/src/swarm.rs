//! Which faults may happen, as a swarm to draw from.
//!
//! Swarm testing (Groce et al., 2012): each seed first picks a random subset of the fault families and then draws
//! only from these, so that families which hide each other also occur alone.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::prelude::*;

use crate::mistakes;
use crate::plan::time::millis;
use crate::plan::{DiskFails, Family, Fault, FaultKind};

/// Which faults may happen, where, and for how long.
#[derive(Debug, Clone)]
pub struct Swarm {
    families: Vec<Family>,
    links: Vec<(String, String)>,
    hosts: Vec<String>,
    count: RangeInclusive<usize>,
    within: Duration,
    pub(crate) lasts: RangeInclusive<Duration>,
    /// Where faults come in turn, the least time between two.
    pause: Option<Duration>,
}

impl Swarm {
    /// So many faults, beginning within a time, each lasting as long as the range has it, of those families that any host
    /// can feel. It knows no link and no host yet.
    #[must_use]
    pub fn new(count: RangeInclusive<usize>, within: Duration, lasts: RangeInclusive<Duration>) -> Self {
        let (links, hosts) = (Vec::new(), Vec::new());
        let families = Family::ALL.into_iter().filter(|family| family.is_of_any_host()).collect();
        Self { families, links, hosts, count, within, lasts, pause: None }
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

    /// Draws from none of these families.
    #[must_use]
    pub fn without(mut self, families: &[Family]) -> Self {
        self.families.retain(|family| !families.contains(family));
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

    /// Lets the faults come one after the other, and the hosts have their turns: one begins when the one before has been
    /// over for so long, and for the time within which it would begin otherwise.
    #[must_use]
    pub fn in_turn(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The faults of one rehearsal.
    pub fn faults(&self) -> BoxedStrategy<Vec<Fault>> {
        let possible: Vec<_> = self.possible().collect();
        if possible.is_empty() || *self.count.end() == 0 {
            return Just(Vec::new()).boxed();
        }
        let swarm = self.clone();
        let some_families = 1..=possible.len();
        let subset = prop::sample::subsequence(possible, some_families);
        subset.prop_flat_map(move |families| swarm.faults_of(families)).boxed()
    }

    /// What is wrong with it in a world of these hosts.
    pub(crate) fn mistake(&self, hosts: &[&str]) -> Option<String> {
        let ends = self.links.iter().flat_map(|(a, b)| [a, b]);
        let places = ends.chain(&self.hosts).map(String::as_str);
        mistakes::of_places(places, hosts)
            .or_else(|| mistakes::of_numbers("faults", &self.count))
            .or_else(|| mistakes::of_times("faults are to last", &self.lasts))
            .or_else(|| {
                let can_any_happen = *self.count.end() == 0 || self.possible().next().is_some();
                mistakes::of_wanted_faults(can_any_happen, &self.families)
            })
    }

    fn possible(&self) -> impl Iterator<Item = Family> {
        self.families.iter().copied().filter(|family| self.can_happen(*family))
    }

    fn can_happen(&self, family: Family) -> bool {
        if family.is_of_link() { !self.links.is_empty() } else { !self.hosts.is_empty() }
    }

    fn faults_of(&self, families: Vec<Family>) -> impl Strategy<Value = Vec<Fault>> + use<> {
        let family = prop::sample::select(families);
        let times = (0..=millis(self.within), millis(*self.lasts.start())..=millis(*self.lasts.end()));
        let where_at = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
        let amount = (0.0..1.0, any::<bool>());
        let (links, hosts, pause) = (self.links.clone(), self.hosts.clone(), self.pause);
        let fault =
            (family, times, where_at, amount).prop_map(move |(family, (from, lasts), where_at, amount)| {
                let pick = |index: prop::sample::Index, count: usize| index.index(count.max(1));
                let link = links.get(pick(where_at.0, links.len())).cloned().unwrap_or_default();
                let host = hosts.get(pick(where_at.1, hosts.len())).cloned().unwrap_or_default();
                // A reset is over as soon as it has happened.
                let lasts = if family == Family::Reset { 0 } else { lasts };
                let (from, lasts) = (Duration::from_millis(from), Duration::from_millis(lasts));
                Fault { from, lasts, what: make(family, link, host, amount.0, amount.1) }
            });
        let (faults, hosts) = (prop::collection::vec(fault, self.count.clone()), self.hosts.clone());
        faults.prop_map(move |mut faults| {
            match pause {
                Some(pause) => take_turns(&mut faults, &hosts, pause),
                None => faults.sort_by_key(|fault| fault.from),
            }
            faults
        })
    }
}

/// Puts the faults one after the other, `pause` apart at least, and each on the next host.
fn take_turns(faults: &mut [Fault], hosts: &[String], pause: Duration) {
    let mut free_from = Duration::ZERO;
    for (fault, next) in faults.iter_mut().zip(hosts.iter().cycle()) {
        fault.from += free_from;
        free_from = fault.from + fault.lasts + pause;
        if let Some(host) = fault.what.host() {
            host.clone_from(next);
        }
    }
}

/// The fault of this family, at the link or on the host, with an amount from 0 to 1 and a direction.
fn make(family: Family, link: (String, String), host: String, amount: f64, back: bool) -> FaultKind {
    let (a, b) = if back { (link.1, link.0) } else { link };
    let sign = if back { -1.0 } else { 1.0 };
    let scaled = |range: RangeInclusive<f64>| range.start() + amount * (range.end() - range.start());
    let millis = |range| Duration::from_millis(scaled(range) as u64);
    match family {
        Family::Partition => FaultKind::Partition { a, b },
        Family::PartitionOneWay => FaultKind::PartitionOneWay { a, b },
        Family::Hold => FaultKind::Hold { a, b },
        Family::SlowLink => FaultKind::SlowLink { a, b, latency: millis(20.0..=400.0) },
        Family::Reset => FaultKind::Reset { a, b },
        Family::PowerLoss => FaultKind::PowerLoss { host },
        Family::Kill => FaultKind::Kill { host },
        Family::Pause => FaultKind::Pause { host },
        Family::ClockSkew => FaultKind::ClockSkew { host, by_ms: (sign * scaled(1.0..=600_000.0)) as i64 },
        Family::ClockDrift => FaultKind::ClockDrift { host, ppm: (sign * scaled(10.0..=200_000.0)) as i64 },
        Family::ClockJump => {
            FaultKind::ClockJump { host, by_ms: (sign * scaled(1_000.0..=86_400_000.0)) as i64 }
        }
        Family::SlowHandler => FaultKind::SlowHandler { host, delay: millis(10.0..=600.0) },
        Family::PanickingHandler => FaultKind::PanickingHandler { host },
        Family::FullService => FaultKind::FullService { host },
        Family::RefusedStreams => FaultKind::RefusedStreams { host },
        Family::Unlisted => FaultKind::Unlisted { host },
        Family::SilentName => FaultKind::SilentName { host },
        Family::FailingDisk => {
            let fails = match (back, amount < 0.5) {
                (true, _) => DiskFails::Syncs,
                (false, true) => DiskFails::Everything,
                (false, false) => DiskFails::Once,
            };
            FaultKind::FailingDisk { host, fails }
        }
        Family::Drain => FaultKind::Drain { host },
    }
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::load::draw;

    fn faults(seed: u8) -> Vec<Fault> {
        let second = Duration::from_secs(1);
        let swarm = Swarm::new(1..=6, second, Duration::ZERO..=second).link("a", "b").host("b");
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        draw(&mut TestRunner::new_with_rng(Config::default(), rng), &swarm.faults())
    }

    #[test]
    fn a_seed_draws_the_same_faults_each_time() {
        assert_eq!(faults(3), faults(3));
        assert_ne!(faults(3), faults(4));
    }

    #[test]
    fn faults_that_take_turns_never_overlap_and_meet_every_host() {
        let ms = Duration::from_millis;
        let swarm = Swarm::new(4..=4, ms(500), ms(100)..=ms(300)).host("a").host("b").in_turn(ms(50));
        for seed in 0..50 {
            let drains = swarm.clone().only(&[Family::Drain]);
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
            let faults = draw(&mut TestRunner::new_with_rng(Config::default(), rng), &drains.faults());
            let hosts: Vec<_> = faults.iter().map(|fault| fault.what.hosts().0).collect();
            assert_eq!(hosts, ["a", "b", "a", "b"]);
            assert!(
                faults.windows(2).all(|two| two[0].from + two[0].lasts + ms(50) <= two[1].from),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn every_family_is_drawn_by_some_seed() {
        let drawn: std::collections::BTreeSet<_> =
            (0..200).flat_map(faults).map(|fault| fault.what.name()).collect();
        let possible = Family::ALL.iter().filter(|family| family.is_of_any_host());
        assert_eq!(drawn.len(), possible.count(), "{drawn:?}");
    }
}
