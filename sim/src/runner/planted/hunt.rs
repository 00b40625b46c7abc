//! Inside of a patched program: looks for the bug, shrinks what fails, and tells the clean program, which started this
//! one, in lines of JSON.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::rehearsal::{Keep, Rehearsal, rehearse};
use crate::runner::options::Options;
use crate::runner::project::Project;
use crate::runner::{batch, graveyard};
use crate::scenario::Scenario;
use crate::shrink::{SHRINK_TIME, shrink};

/// How the bug was looked for in one scenario.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Hunt {
    pub(super) scenario: String,
    /// How many seeds it took to find it first.
    pub(super) seeds: u64,
    /// The promise that it broke then.
    pub(super) promise: Option<String>,
    /// What became of each plan that failed.
    pub(super) cuts: Vec<Cut>,
}

/// How far one plan was shrunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cut {
    pub(super) seed: u64,
    /// How many there were before, and how many there are.
    pub(super) faults: (usize, usize),
    /// Requests and probes, before and now.
    pub(super) requests: (usize, usize),
    /// Whether it was shrunk to the end, and not only for as long as there was time.
    pub(super) is_whole: bool,
    /// How many plans were tried.
    pub(super) plans: usize,
    pub(super) seconds: f64,
    /// The shrunk plan, in TOML.
    pub(super) plan: String,
    /// How it breaks the promise.
    pub(super) violation: String,
}

/// What came of one plan of the graveyard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replay {
    pub(super) violation: Option<String>,
    pub(super) faults: usize,
    pub(super) effective: usize,
}

/// Does what the options ask for, and prints one line for it, or for each scenario.
pub(crate) fn run(project: &Project, options: &Options) -> Result<(), String> {
    if let Some(file) = &options.plan {
        let plan = graveyard::read(project, file)?;
        let played = rehearse(project.named(&plan.scenario)?, &plan, Keep::Hash);
        return tell(&Replay::of(&played));
    }
    for scenario in project.chosen(&options.scenario)? {
        tell(&hunt(project, scenario, options)?)?;
    }
    Ok(())
}

fn tell(line: &impl Serialize) -> Result<(), String> {
    println!("{}", serde_json::to_string(line).map_err(|error| error.to_string())?);
    Ok(())
}

impl Replay {
    fn of(played: &Rehearsal) -> Self {
        Self {
            violation: played.violation.as_ref().map(ToString::to_string),
            faults: played.plan.faults.len(),
            effective: graveyard::effective(played),
        }
    }
}

/// One seed after the other, so that which is the first does not depend on the machine.
fn hunt(project: &Project, scenario: &Scenario, options: &Options) -> Result<Hunt, String> {
    let options = Options { jobs: Some(1), ..options.clone() };
    let mut hunt = Hunt { scenario: scenario.name.clone(), ..Hunt::default() };
    let (mut failures, mut trouble) = (0, Ok(()));
    let play = |scenario: &Scenario, plan: &Plan| batch::rehearsed(scenario, plan, &options);
    batch::each(project, &[scenario], &options, play, |_, rehearsal| {
        if let Some(mistake) = rehearsal.mistake() {
            trouble = Err(mistake);
            return false;
        }
        hunt.seeds += u64::from(hunt.promise.is_none());
        let Some(violation) = &rehearsal.violation else { return true };
        hunt.promise.get_or_insert_with(|| violation.promise.clone());
        failures += 1;
        if !options.no_shrink {
            match Cut::of(scenario, &rehearsal) {
                Ok(cut) => hunt.cuts.push(cut),
                Err(error) => trouble = Err(error),
            }
        }
        failures < options.failures_max()
    });
    trouble.map(|()| hunt)
}

impl Cut {
    fn of(scenario: &Scenario, failed: &Rehearsal) -> Result<Self, String> {
        let shrunk = shrink(scenario, failed, SHRINK_TIME);
        let (before, after) = (&failed.plan, &shrunk.rehearsal.plan);
        Ok(Self {
            seed: before.seed,
            faults: (before.faults.len(), after.faults.len()),
            requests: (calls(before), calls(after)),
            is_whole: shrunk.is_whole,
            plans: shrunk.tried,
            seconds: shrunk.wall.as_secs_f64(),
            plan: after.to_toml().map_err(|error| error.to_string())?,
            violation: shrunk.rehearsal.violation.map(|violation| violation.to_string()).unwrap_or_default(),
        })
    }
}

/// A probe that must be there for the promise to be broken is a request as well.
fn calls(plan: &Plan) -> usize {
    plan.requests.len() + plan.probes.len()
}
