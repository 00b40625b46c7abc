//! Cuts a failing plan down to what it takes to fail: fewest faults, fewest requests, shortest times.
//!
//! Each candidate is played on a fresh thread, and kept if the same promise is broken. First all is left out that
//! can be, by delta debugging (Zeller and Hildebrandt, 2002): probes before faults before requests, since without
//! probes each later rehearsal is shorter. Times come last, since each costs several rehearsals; then each item is
//! tried once more, as what is short may need less. The result depends on the plan alone, unless the time is up.
//!
//! No fault and no deadline gets shorter than the scenario draws them: what is promised may depend on that. A drain
//! that lasts no time, say, is a kill, and breaks what is promised of drains with no bug behind it.

use std::time::{Duration, Instant};

use crate::plan::time::millis;
use crate::plan::{Fault, Plan, Request};
use crate::rehearsal::{Keep, Rehearsal, rehearse};
use crate::scenario::{Scenario, World};

/// How long a plan may be cut at.
pub(crate) const SHRINK_TIME: Duration = Duration::from_secs(30);

/// A shrunk plan, and how it came about.
#[derive(Debug)]
pub(crate) struct Shrunk {
    /// The rehearsal of the smallest plan that still fails.
    pub(crate) rehearsal: Rehearsal,
    /// Whether all was tried, and not only what there was time for: then its size is that of the bug, on any machine.
    pub(crate) is_whole: bool,
    /// How many plans were tried.
    pub(crate) tried: usize,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// The smallest plan found that breaks the same promise as `failed`; no rehearsal begins after `bound` of wall time.
pub(crate) fn shrink(scenario: &Scenario, failed: &Rehearsal, bound: Duration) -> Shrunk {
    let mut search = Search::new(scenario, failed, bound);
    search.leave_out_what_came_later();
    loop {
        while search.leave_out() {}
        search.make_plain();
        search.shorten();
        if !search.leave_out() {
            return search.end();
        }
    }
}

struct Search<'a> {
    scenario: &'a Scenario,
    best: Rehearsal,
    tried: usize,
    /// What was tried in vain, so that nothing is played twice.
    rejected: Vec<Plan>,
    start: Instant,
    bound: Duration,
    /// Whether something was not tried because the time was up.
    is_late: bool,
}

impl<'a> Search<'a> {
    #[expect(clippy::disallowed_methods, reason = "the bound is on the time of whoever waits for the result")]
    fn new(scenario: &'a Scenario, failed: &Rehearsal, bound: Duration) -> Self {
        let (best, start) = (failed.clone(), Instant::now());
        Self { scenario, best, tried: 0, rejected: Vec::new(), start, bound, is_late: false }
    }

    fn end(self) -> Shrunk {
        let Self { best, tried, is_late, start, .. } = self;
        Shrunk { is_whole: !is_late, tried, wall: start.elapsed(), rehearsal: best }
    }

    /// Tries the best plan with a change; keeps it if it fails in the same way.
    fn try_with(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.plan.clone();
        change(&mut plan);
        if plan == self.best.plan || self.rejected.contains(&plan) {
            return false;
        }
        if self.start.elapsed() >= self.bound {
            self.is_late = true;
            return false;
        }
        self.tried += 1;
        let rehearsal = rehearse(self.scenario, &plan, Keep::Hash);
        let is_same = promise(&rehearsal).is_some() && promise(&rehearsal) == promise(&self.best);
        if is_same {
            self.best = rehearsal;
        } else {
            self.rejected.push(plan);
        }
        is_same
    }

    /// Leaves out what had not begun when the promise was broken.
    fn leave_out_what_came_later(&mut self) {
        let Some(at) = self.best.violation.as_ref().map(|violation| violation.at) else { return };
        self.try_with(|plan| {
            plan.faults.retain(|fault| fault.from <= at);
            plan.requests.retain(|request| request.at <= at);
        });
    }

    /// Leaves out as many probes, faults and requests as it can; whether any.
    fn leave_out(&mut self) -> bool {
        let sizes = |plan: &Plan| (plan.probes.len(), plan.faults.len(), plan.requests.len());
        let before = sizes(&self.best.plan);
        self.cut(|plan| &mut plan.probes);
        self.cut(|plan| &mut plan.faults);
        self.keep_named_requests();
        self.cut(|plan| &mut plan.requests);
        sizes(&self.best.plan) != before
    }

    /// Leaves out all requests but those of which the violation tells.
    fn keep_named_requests(&mut self) {
        let Some(detail) = self.best.violation.as_ref().map(|violation| violation.detail.clone()) else {
            return;
        };
        self.try_with(|plan| plan.requests.retain(|request| detail.contains(&request.request_id())));
    }

    /// Leaves out as many items of a list as it can, in ever smaller pieces.
    fn cut<T>(&mut self, list: fn(&mut Plan) -> &mut Vec<T>) {
        let mut piece = list(&mut self.best.plan).len();
        while piece > 0 {
            let mut start = 0;
            while start < list(&mut self.best.plan).len() {
                let end = (start + piece).min(list(&mut self.best.plan).len());
                if !self.try_with(|plan| drop(list(plan).drain(start..end))) {
                    start = end;
                }
            }
            piece /= 2;
        }
    }

    /// Takes away what is special about the world: its options, its bounds, its network.
    fn make_plain(&mut self) {
        self.plain_world();
        for (name, choices) in self.world().options.clone() {
            let first = choices.first().cloned().unwrap_or_default();
            self.try_with(|plan| drop(plan.options.insert(name, first)));
        }
        self.send_nothing_along();
        // Only where it holds nobody back: without it a plan would ask for more than its world takes.
        let requests = self.best.plan.requests.len();
        if self.best.plan.in_flight_max.is_some_and(|most| requests <= most) {
            self.try_with(|plan| plan.in_flight_max = None);
        }
        self.try_with(|plan| plan.network.yield_percent = 0);
        self.steady_latency();
    }

    /// Takes back each pick that made the world what it is: a plain world has the first choice of everything. Faults at
    /// places that are gone then go along.
    fn plain_world(&mut self) {
        for name in self.best.plan.options.clone().into_keys() {
            let mut plain = self.best.plan.options.clone();
            plain.remove(&name);
            let Ok(world) = self.scenario.world_of(&plain) else { continue };
            let plan = &self.best.plan;
            let (now, mut calls) = (self.world(), plan.requests.iter().chain(&plan.probes));
            let has_gone = |request: &Request| now.load.has(request) && !world.load.has(request);
            if world.options.iter().any(|(option, _)| *option == name) || calls.any(has_gone) {
                continue;
            }
            self.try_with(|plan| {
                plan.faults.retain(|fault| world.has_hosts_of(fault));
                plan.options = plain;
            });
        }
    }

    /// The world of the best plan.
    fn world(&self) -> World<'a> {
        let world = self.scenario.world_of(&self.best.plan.options);
        world.expect("the best plan was played, so that its world is one of the scenario's")
    }

    /// Lets requests go under their own ids and without metadata: all of them, or as many as will.
    fn send_nothing_along(&mut self) {
        self.try_with(|plan| plan.requests.iter_mut().for_each(|request| request.sends_id = None));
        self.try_with(|plan| plan.requests.iter_mut().for_each(|request| request.metadata.clear()));
        for number in 0..self.best.plan.requests.len() {
            self.try_with(|plan| plan.requests[number].sends_id = None);
            self.try_with(|plan| plan.requests[number].metadata.clear());
        }
    }

    /// Gives all segments the same latency, the least that will do. One that differs is drawn by chance, so that
    /// fewer calls mean other latencies for those that stay.
    fn steady_latency(&mut self) {
        let network = &self.best.plan.network;
        for latency in [Duration::ZERO, network.latency_min, network.latency_max] {
            let steady = |plan: &mut Plan| {
                (plan.network.latency_min, plan.network.latency_max) = (latency, latency);
            };
            if self.try_with(steady) {
                return;
            }
        }
    }

    /// Makes all times as short as they get: from one beginning to the next, how long things last, how long a call
    /// may take; then how much goes wrong.
    fn shorten(&mut self) {
        let beginnings = beginnings(&self.best.plan).len();
        self.try_with(|plan| (0..beginnings).for_each(|number| set_gap(plan, number, 0)));
        for number in 0..beginnings {
            self.shorten_time(|plan| gap(plan, number), |plan, value| set_gap(plan, number, value), 0);
        }
        let world = self.world();
        let shortest = millis(*world.swarm.lasts.start());
        for number in 0..self.best.plan.faults.len() {
            let set = |plan: &mut Plan, value| plan.faults[number].lasts = Duration::from_millis(value);
            self.shorten_time(|plan| millis(plan.faults[number].lasts), set, shortest);
            let get =
                |plan: &Plan| plan.faults[number].what.clone().amount().map_or(0, |amount| amount.get());
            let set = |plan: &mut Plan, value| {
                plan.faults[number].what.amount().into_iter().for_each(|mut amount| amount.set(value));
            };
            self.lower(get, set, 1, (1, 10));
        }
        // First all deadlines are lowered to one limit, which takes few rehearsals; then each is lowered by itself.
        let shortest = millis(*world.load.deadline.start());
        self.shorten_time(longest_deadline, limit_deadlines, shortest);
        for number in 0..self.best.plan.requests.len() {
            let set = |plan: &mut Plan, value| plan.requests[number].deadline = Duration::from_millis(value);
            self.shorten_time(|plan| millis(plan.requests[number].deadline), set, shortest);
        }
    }

    /// Makes a time in milliseconds as short as it gets, to the tick, and no shorter than `shortest`.
    fn shorten_time(&mut self, get: impl Fn(&Plan) -> u64, set: impl Fn(&mut Plan, u64), shortest: u64) {
        let tick = millis(self.world().tick).max(1);
        let mut low = self.lower(&get, &set, shortest, (tick, 2));
        let mut high = get(&self.best.plan);
        while high > low + tick {
            let middle = low + (high - low) / 2;
            if self.try_with(|plan| set(plan, middle)) {
                high = middle;
            } else {
                low = middle;
            }
        }
    }

    /// Gives a number the first value that will do, of `least` and those above it at a distance that grows from `step`
    /// by a factor; the last one that would not. From below, because what is needed is mostly small.
    fn lower(
        &mut self,
        get: impl Fn(&Plan) -> u64,
        set: impl Fn(&mut Plan, u64),
        least: u64,
        (step, factor): (u64, u64),
    ) -> u64 {
        let (mut low, mut value, mut step) = (least, least, step);
        while value < get(&self.best.plan) && !self.try_with(|plan| set(plan, value)) {
            low = value;
            value = least.saturating_add(step);
            step = step.saturating_mul(factor);
        }
        low
    }
}

fn promise(rehearsal: &Rehearsal) -> Option<&str> {
    rehearsal.violation.as_ref().map(|violation| violation.promise.as_str())
}

fn longest_deadline(plan: &Plan) -> u64 {
    plan.requests.iter().map(|request| millis(request.deadline)).max().unwrap_or_default()
}

fn limit_deadlines(plan: &mut Plan, most: u64) {
    let most = Duration::from_millis(most);
    plan.requests.iter_mut().for_each(|request| request.deadline = request.deadline.min(most));
}

/// When things begin, in order.
fn beginnings(plan: &Plan) -> Vec<Duration> {
    let faults = plan.faults.iter().map(|fault| fault.from);
    let mut times: Vec<_> = faults.chain(plan.requests.iter().map(|request| request.at)).collect();
    times.sort();
    times
}

/// The time in milliseconds from one beginning to the next, or from the start to the first.
fn gap(plan: &Plan, number: usize) -> u64 {
    let times = beginnings(plan);
    let before = number.checked_sub(1).map_or(Duration::ZERO, |before| times[before]);
    millis(times[number] - before)
}

/// Moves a beginning, and all that follow, so that there is this time in milliseconds before it. The order stays.
fn set_gap(plan: &mut Plan, number: usize, value: u64) {
    let (from, old) = (beginnings(plan)[number], gap(plan, number));
    let earlier = Duration::from_millis(old.saturating_sub(value));
    let faults = plan.faults.iter_mut().map(|Fault { from, .. }| from);
    let times = faults.chain(plan.requests.iter_mut().map(|Request { at, .. }| at));
    times.filter(|time| **time >= from).for_each(|time| *time -= earlier);
}

#[cfg(test)]
mod settling_tests;
#[cfg(test)]
mod tests;
