//! The dress rehearsal: a plan, played on real processes in real time.
//!
//! Each host of the plan's world is a process of its own. Between any two of them, and between the clients and each, stands
//! a proxy of ours for each port, which does to bytes what the faults of the plan do to a link; signals do the rest. The
//! clients are those of the simulation, and so are the checks: what processes say of themselves is read from their output,
//! put in its order, and shown to those checks for which it is enough. So a plan has three players, which are the
//! simulated world, the shrinker and this one, and where the first and the last differ, one of them is wrong.
//!
//! It knows no node: what a process is started with, and how its lines are read, a scenario says ([`Dress`]).

mod faults;
mod guard;
mod hosts;
mod judge;
mod links;
mod net;
mod output;
mod pipe;
mod play;
mod process;
mod proxy;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::plan::{Fault, Plan};
use crate::rehearsal::Rehearsal;
use crate::scenario::{Dress, Scenario};
use crate::tempo::Tempo;
use crate::trace::recorder;
use crate::violation::Violation;

pub(crate) use guard::{GUARD, Program, become_program};
use hosts::Inputs;
use judge::Judge;

/// What came of a dress rehearsal.
#[derive(Debug)]
pub(crate) struct Dressed {
    /// In the terms of a simulated one. It has no trace that could repeat.
    pub(crate) rehearsal: Rehearsal,
    /// The faults that cannot be done to processes.
    pub(crate) left_out: Vec<Fault>,
    /// The promises for which processes tell too little.
    pub(crate) not_judged: Vec<String>,
}

/// Plays `plan` on processes of `program`, and keeps what they say in `logs`.
///
/// # Errors
/// When the scenario cannot be played so, or there is no room for the logs.
#[expect(clippy::disallowed_methods, reason = "how long a rehearsal takes is a fact about the real world")]
pub(crate) fn rehearse(
    scenario: &Scenario,
    plan: &Plan,
    program: &Program,
    tempo: Tempo,
    logs: &Path,
) -> Result<Dressed, String> {
    let world = scenario.world_for(plan)?;
    if let Some(mistake) = world.wrong() {
        let rehearsal = Rehearsal::of_mistake(plan, world.told(mistake, plan.seed));
        return Ok(Dressed { rehearsal, left_out: Vec::new(), not_judged: Vec::new() });
    }
    let dress = world.dress.as_ref().ok_or("it does not say how its hosts run as processes")?(tempo)?;
    let (faults, left_out) =
        plan.faults.iter().cloned().partition(|fault| faults::is_of_processes(fault.what.family()));
    let plan = Plan { faults, ..plan.clone() };
    let program = &dress.stand_in.as_ref().map_or_else(|| program.clone(), |name| program.ours(name));
    let begun = Instant::now();
    emptied(logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    // A thread of its own, since the recorder of a rehearsal is its thread's.
    let played = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("dress {}", plan.seed));
        let work = || {
            let inputs = Inputs { hosts: &dress.hosts, plan: &plan, program, tempo, logs };
            play(&world, &dress, inputs)
        };
        let thread = thread.spawn_scoped(scope, work);
        thread.expect("the machine has room for one more thread").join()
    });
    let (rehearsal, not_judged) = played.unwrap_or_else(|_| {
        let died = Violation::of_whole("the player of dress rehearsals does not panic", "its thread died");
        (Rehearsal::unplayed(&plan, died), Vec::new())
    });
    Ok(Dressed { rehearsal: Rehearsal { wall: begun.elapsed(), ..rehearsal }, left_out, not_judged })
}

fn play(scenario: &Scenario, dress: &Dress, inputs: Inputs<'_>) -> (Rehearsal, Vec<String>) {
    let mut judge = Judge::new(dress);
    play::install_recorder(scenario, inputs);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the machine has room for a runtime");
    LocalSet::new().block_on(&runtime, play::run(scenario, dress, inputs, &mut judge));
    // What still runs of it ends while the recorder is there.
    drop(runtime);
    let recorder = recorder::take().expect("playing a plan leaves its recorder behind");
    let simulated = recorder.now();
    let violation = recorder.checks.violation().or(judge.checks.violation()).cloned();
    let mut events = recorder.kept.since(0).to_vec();
    events.sort_by_key(|event| event.at);
    let is_before = |violation: &Violation| events.iter().filter(|event| event.at <= violation.at).count();
    let rehearsal = Rehearsal {
        plan: inputs.plan.clone(),
        trace_hash: 0,
        until_broken: violation.as_ref().map_or(events.len(), is_before),
        violation,
        effective: recorder.in_force.effective(),
        met: judge.checks.met(),
        asked: judge.checks.asked(),
        simulated,
        wall: Duration::ZERO,
        events,
        hosts: recorder.hosts.all().iter().map(|host| host.name.to_string()).collect(),
        calls: recorder.calls.into_all(),
    };
    (rehearsal, judge.not_judged)
}

fn emptied(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)
}
