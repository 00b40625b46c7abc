//! The rehearsals of a plain `cargo test`: plans that once failed, then a few fresh seeds of every scenario.

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::draw;
use crate::rehearsal::rehearse_twice;

use super::{Runner, failure, single};

/// How many seeds of each scenario a plain `cargo test` rehearses, each twice.
const FRESH_SEEDS: u64 = 16;

pub(super) fn run(runner: Runner) -> ExitCode {
    let arguments = Arguments::from_args();
    let runner = Arc::new(runner);
    let mut trials = graveyard_trials(&runner);
    trials.extend(scenario_trials(&runner));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn graveyard_trials(runner: &Arc<Runner>) -> Vec<Trial> {
    let trial = |file: std::path::PathBuf| {
        let runner = Arc::clone(runner);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(format!("graveyard::{name}"), move || {
            let plan = single::read_plan(&runner, &file)?;
            let scenario = runner.named(&plan.scenario)?;
            let rehearsal = rehearse_twice(scenario, &plan);
            match rehearsal.violation {
                Some(_) => {
                    Err(format!("{rehearsal}\n  again     cargo sim --plan {}", file.display()).into())
                }
                None => Ok(()),
            }
        })
    };
    failure::buried(&runner.graveyard).into_iter().map(trial).collect()
}

fn scenario_trials(runner: &Arc<Runner>) -> Vec<Trial> {
    // Fresh each time; a failure names its seed. Small, so that it is short to paste.
    let first = RandomState::new().hash_one(0) % 1_000_000_000;
    let trial = |number: usize| {
        let runner = Arc::clone(runner);
        let name = runner.scenarios[number].name.clone();
        Trial::test(format!("scenario::{name}"), move || rehearse_some(&runner, number, first))
    };
    (0..runner.scenarios.len()).map(trial).collect()
}

fn rehearse_some(runner: &Runner, number: usize, first: u64) -> Result<(), Failed> {
    let scenario = &runner.scenarios[number];
    let (mut faults, mut bites) = (0, 0);
    for seed in first..first + FRESH_SEEDS {
        let rehearsal = rehearse_twice(scenario, &draw::plan(scenario, seed, None));
        if rehearsal.violation.is_some() {
            return Err(failure::explain(scenario, &rehearsal, &runner.graveyard, true).into());
        }
        faults += rehearsal.effective.len();
        bites += rehearsal.effective.iter().filter(|bit| **bit).count();
    }
    // A suite of inert faults would pass whatever the program does.
    if faults > 0 && bites == 0 {
        return Err(format!("none of {faults} faults touched a call: this proves nothing").into());
    }
    Ok(())
}
