//! Cuts a failing plan down to what it takes to fail: fewest faults, fewest requests, shortest times.
//!
//! Each candidate is played on a fresh thread, and kept if the same promise is broken. Lists are cut by delta
//! debugging (Zeller and Hildebrandt, 2002), then numbers by halving, again and again until nothing gets
//! smaller or the time is up.

use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::rehearsal::{Keep, Rehearsal, rehearse};
use crate::scenario::Scenario;

/// How long a plan may be cut at.
pub(crate) const SHRINK_TIME: Duration = Duration::from_secs(30);

/// A shrunk plan, and how it came about.
#[derive(Debug)]
pub(crate) struct Shrunk {
    /// The rehearsal of the smallest plan that still fails.
    pub(crate) rehearsal: Rehearsal,
    /// How many plans were tried.
    pub(crate) tried: u32,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// The smallest plan found that breaks the same promise as `failed`; at most `bound` of wall time is spent.
#[expect(clippy::disallowed_methods, reason = "the bound is on the time of whoever waits for the result")]
pub(crate) fn shrink(scenario: &Scenario, failed: &Rehearsal, bound: Duration) -> Shrunk {
    let start = Instant::now();
    let mut search = Search { scenario, best: failed.clone(), tried: 0, ends_at: start + bound };
    while search.pass() {}
    Shrunk { rehearsal: search.best, tried: search.tried, wall: start.elapsed() }
}

struct Search<'a> {
    scenario: &'a Scenario,
    best: Rehearsal,
    tried: u32,
    ends_at: Instant,
}

impl Search<'_> {
    /// Tries everything once; whether anything got smaller and there is time for more.
    fn pass(&mut self) -> bool {
        let before = self.best.plan.clone();
        self.cut(|plan| &mut plan.faults);
        self.cut(|plan| &mut plan.requests);
        self.cut(|plan| &mut plan.probes);
        self.calm_network();
        for number in 0..self.best.plan.faults.len() {
            self.halve(|plan| &mut plan.faults[number].lasts);
            self.halve(|plan| &mut plan.faults[number].from);
        }
        for number in 0..self.best.plan.requests.len() {
            self.halve(|plan| &mut plan.requests[number].at);
            self.halve(|plan| &mut plan.requests[number].deadline);
        }
        self.best.plan != before && !self.is_late()
    }

    #[expect(clippy::disallowed_methods, reason = "see `shrink`")]
    fn is_late(&self) -> bool {
        Instant::now() >= self.ends_at
    }

    /// Plays `plan`; keeps it if it fails in the same way.
    fn try_plan(&mut self, plan: &Plan) -> bool {
        if self.is_late() {
            return false;
        }
        self.tried += 1;
        let rehearsal = rehearse(self.scenario, plan, Keep::Hash);
        let promise =
            |rehearsal: &Rehearsal| rehearsal.violation.as_ref().map(|violation| violation.invariant.clone());
        let is_same = promise(&rehearsal).is_some() && promise(&rehearsal) == promise(&self.best);
        if is_same {
            self.best = rehearsal;
        }
        is_same
    }

    /// Leaves out as many items of a list as it can, in ever smaller pieces.
    fn cut<T: Clone>(&mut self, list: impl Fn(&mut Plan) -> &mut Vec<T>) {
        let mut piece = list(&mut self.best.plan.clone()).len();
        while piece > 0 {
            let mut start = 0;
            while start < list(&mut self.best.plan.clone()).len() {
                let mut plan = self.best.plan.clone();
                let items = list(&mut plan);
                items.drain(start..(start + piece).min(items.len()));
                if !self.try_plan(&plan) {
                    start += piece;
                }
            }
            piece /= 2;
        }
    }

    /// Makes a time as short as it gets.
    fn halve(&mut self, time: impl Fn(&mut Plan) -> &mut Duration) {
        loop {
            let mut plan = self.best.plan.clone();
            let value = time(&mut plan);
            let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
            if millis == 0 {
                return;
            }
            *value = Duration::from_millis(millis / 2);
            if !self.try_plan(&plan) {
                return;
            }
        }
    }

    fn calm_network(&mut self) {
        let mut plan = self.best.plan.clone();
        plan.network.yield_percent = 0;
        if plan != self.best.plan {
            self.try_plan(&plan);
        }
        let mut plan = self.best.plan.clone();
        plan.network.latency_min = Duration::ZERO;
        plan.network.latency_max = Duration::ZERO;
        if plan != self.best.plan {
            self.try_plan(&plan);
        }
    }
}
