//! One rehearsal: a plan, played on a thread of its own, and what came of it.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::call::CallRecord;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::trace::difference::first_difference;
use crate::trace::event::Event;
use crate::trace::questions::Questions;
use crate::trace::{recorder, subscriber};
use crate::violation::{Violation, ViolationKind};
use crate::{draw, entropy, panics, world};

/// What mostly makes two plays of a plan differ.
const USUAL_REASONS: &str = "usual reasons: several tasks that wait for one tokio watch, a tokio::select! without \
    `biased;`, a static, a map with a hasher of its own, tokio::spawn (docs/state.md, \
    \"What your actors must not do\")";

/// Why a wrong clock mostly changes something.
const CLOCKS_ARE_ASKED: &str = "a service that answers with the time, or goes by it, differs: let it go by tokio's Instant, or \
    rehearse it without wrong clocks, `.without(&[Family::ClockSkew, Family::ClockDrift, Family::ClockJump])` of its swarm";

pub(crate) use crate::trace::recorder::Keep;

/// What came of one rehearsal.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// What was played.
    pub plan: Plan,
    /// All that happened, as one number.
    pub trace_hash: u64,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// All calls, in the order in which they began.
    pub calls: Vec<CallRecord>,
    /// For each fault of the plan, whether it touched a call.
    pub effective: Vec<bool>,
    /// How often each promise had something to judge, in the order in which they were added.
    pub met: Vec<(String, u64)>,
    /// What those promises that note it have asked events for.
    pub asked: Vec<(String, Questions)>,
    /// How much virtual time passed.
    pub simulated: Duration,
    /// How long it took.
    pub wall: Duration,
    /// All that happened, if that was asked for.
    pub events: Vec<Event>,
    /// How many of these events there were when the promise was broken.
    pub(crate) until_broken: usize,
    /// The hosts, in the order in which they were added.
    pub hosts: Vec<String>,
}

/// What came of a rehearsal, as one line of JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The name of the planted bug that was in the program, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// All that happened, as a number in hexadecimal digits.
    pub trace_hash: String,
    /// `passed`, `inert` (there were faults and none was effective) or `violated`.
    pub outcome: &'static str,
    /// The promise that was broken, and how.
    pub violation: Option<String>,
    /// How many calls were made.
    pub calls: usize,
    /// How many faults happened.
    pub faults: usize,
    /// How many of these were effective: they touched a call.
    pub faults_effective: usize,
    /// How much virtual time passed.
    pub simulated_seconds: f64,
    /// How long it took.
    pub wall_seconds: f64,
}

impl Rehearsal {
    /// The outcome in a line.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let effective = self.effective.iter().filter(|effective| **effective).count();
        let outcome = match &self.violation {
            Some(_) => "violated",
            None if effective == 0 && !self.effective.is_empty() => "inert",
            None => "passed",
        };
        Summary {
            scenario: self.plan.scenario.clone(),
            seed: self.plan.seed,
            planted: self.plan.planted.clone(),
            trace_hash: format!("{:016x}", self.trace_hash),
            outcome,
            violation: self.violation.as_ref().map(ToString::to_string),
            calls: self.calls.len(),
            faults: self.plan.faults.len(),
            faults_effective: effective,
            simulated_seconds: self.simulated.as_secs_f64(),
            wall_seconds: self.wall.as_secs_f64(),
        }
    }

    /// Whether it takes two plays to see what is wrong: a plan that was cut down and played once would always pass.
    pub(crate) fn takes_two(&self) -> bool {
        self.violation.as_ref().is_some_and(|violation| violation.kind == ViolationKind::Comparison)
    }

    /// What is wrong with the set-up, if that is what came out: then no plan is to blame, and nothing is kept.
    pub(crate) fn mistake(&self) -> Option<String> {
        let violation = self.violation.as_ref().filter(|violation| violation.kind == ViolationKind::SetUp)?;
        Some(format!("{} is not set up as it must be: {}", self.plan.scenario, violation.detail))
    }

    /// A rehearsal of a plan in a world that is wrong.
    pub(crate) fn of_mistake(plan: &Plan, mistake: String) -> Self {
        let violation = Violation::of_whole("a scenario can be played", mistake);
        Self::unplayed(plan, Violation { kind: ViolationKind::SetUp, ..violation })
    }

    /// A rehearsal of a plan that could not be played.
    pub(crate) fn unplayed(plan: &Plan, violation: Violation) -> Self {
        Self {
            plan: plan.clone(),
            trace_hash: 0,
            violation: Some(violation),
            calls: Vec::new(),
            effective: Vec::new(),
            met: Vec::new(),
            asked: Vec::new(),
            simulated: Duration::ZERO,
            wall: Duration::ZERO,
            events: Vec::new(),
            until_broken: 0,
            hosts: Vec::new(),
        }
    }
}

impl fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary();
        write!(f, "{} seed {}: {}", summary.scenario, summary.seed, summary.outcome)?;
        if let Some(violation) = &summary.violation {
            write!(f, ": {violation}")?;
        }
        write!(
            f,
            " ({} calls, {} of {} faults effective, {:.3} s simulated in {:.1} ms, trace {})",
            summary.calls,
            summary.faults_effective,
            summary.faults,
            summary.simulated_seconds,
            summary.wall_seconds * 1e3,
            summary.trace_hash
        )
    }
}

/// Draws the plan of `seed` and plays it.
#[must_use]
pub fn rehearse_seed(scenario: &Scenario, seed: u64, planted: Option<&str>, keep: Keep) -> Rehearsal {
    rehearse(scenario, &draw::plan(scenario, seed, planted), keep)
}

/// Plays `plan` on a fresh thread.
///
/// The thread must be fresh because the standard library draws the keys of its hash maps once for each.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "how long a rehearsal takes is a fact about the real world")]
pub fn rehearse(scenario: &Scenario, plan: &Plan, keep: Keep) -> Rehearsal {
    let world = match scenario.world_for(plan) {
        Ok(world) => world,
        Err(mistake) => return Rehearsal::of_mistake(plan, mistake),
    };
    if let Some(mistake) = world.wrong() {
        return Rehearsal::of_mistake(plan, world.told(mistake, plan.seed));
    }
    panics::watch();
    let start = Instant::now();
    let mut played = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("seed {}", plan.seed));
        let thread = thread.spawn_scoped(scope, || play(&world, plan, keep));
        thread.expect("the machine has room for one more thread").join()
    })
    .unwrap_or_else(|_| {
        Rehearsal::unplayed(plan, Violation::of_whole("the simulator does not panic", "its thread died"))
    });
    played.wall = start.elapsed();
    played
}

/// Plays `plan` twice; the second time must leave the same trace. If its clocks are wrong, plays it a third time with
/// right ones; every call must end in the same way and at the same time.
#[must_use]
pub fn rehearse_twice(scenario: &Scenario, plan: &Plan) -> Rehearsal {
    let mut first = rehearse(scenario, plan, Keep::Hash);
    let second = rehearse(scenario, plan, Keep::Hash);
    if first.trace_hash != second.trace_hash {
        let (one, other) = (rehearse(scenario, plan, Keep::Trace), rehearse(scenario, plan, Keep::Trace));
        let hashes = format!("traces {:016x} and {:016x}", first.trace_hash, second.trace_hash);
        let difference = first_difference(&one.events, &other.events);
        let difference = difference.unwrap_or_else(|| "two more runs were the same".to_owned());
        first.violation = Some(Violation::of_comparison(
            "the same seed leaves the same trace",
            format!("{hashes}: {}\n  {USUAL_REASONS}", difference.trim_end()),
        ));
    }
    if first.violation.is_none()
        && let Some(difference) = difference_by_clocks(scenario, &first)
    {
        first.violation = Some(Violation::of_comparison("wrong wall clocks change nothing", difference));
    }
    first
}

/// The first call that ends otherwise when no wall clock is wrong.
fn difference_by_clocks(scenario: &Scenario, played: &Rehearsal) -> Option<String> {
    let mut plan = played.plan.clone();
    plan.faults.retain(|fault| !fault.what.family().is_of_clock());
    if plan.faults.len() == played.plan.faults.len() {
        return None;
    }
    let right = rehearse(scenario, &plan, Keep::Hash);
    // Probes start when the last fault has healed, which may be earlier without the clock faults.
    let mut calls = played.calls.iter().zip(&right.calls).filter(|(call, _)| !call.is_probe);
    let (wrong, right) = calls.find(|(one, other)| (one.ended, &one.reply) != (other.ended, &other.reply))?;
    let end = |call: &CallRecord| format!("{:?} at {:?}", call.reply, call.ended.unwrap_or_default());
    let (wrong, right) = (format!("{} ends with {}", wrong.request_id, end(wrong)), end(right));
    Some(format!("{wrong}; with right clocks {right}\n  {CLOCKS_ARE_ASKED}"))
}

fn play(scenario: &Scenario, plan: &Plan, keep: Keep) -> Rehearsal {
    let _simulated = entropy::simulate(entropy::mix(!plan.seed));
    fastrand::seed(entropy::mix(plan.seed ^ 2));
    let run = || subscriber::subscribed(|| world::run(scenario, plan, keep));
    // A panic of turmoil itself ends up here; one of a host's task ends in tokio, and in the list of panics.
    let simulated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    let left_over = panics::take();
    let mut recorder = recorder::take().expect("playing a plan leaves its recorder behind");
    for panic in left_over {
        recorder.host_failed("hosts do not panic", &panic);
    }
    Rehearsal {
        plan: plan.clone(),
        trace_hash: recorder.kept.hash(),
        simulated: simulated.unwrap_or_default(),
        wall: Duration::ZERO,
        effective: recorder.in_force.effective(),
        met: recorder.checks.met(),
        asked: recorder.checks.asked(),
        hosts: recorder.hosts.all().iter().map(|host| host.name.to_string()).collect(),
        violation: recorder.checks.violation().cloned(),
        calls: recorder.calls.into_all(),
        until_broken: recorder.kept.until_broken(),
        events: recorder.kept.into_events(),
    }
}
