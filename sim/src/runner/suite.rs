//! The rehearsals of a plain `cargo test`: plans that once failed, then a few fresh seeds of every scenario.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::rehearsal::rehearse_twice;

use super::project::Project;
use super::vacuity::Vacuity;
use super::{failure, graveyard};

/// How many seeds of each scenario a plain `cargo test` rehearses, each twice.
const FRESH_SEEDS: u64 = 16;

/// The variable that says which of them is the first, so that a machine that judges a change judges it alike each time.
const FROM: &str = "REHEARSE_FROM";

/// `EX_USAGE` of sysexits.h: the command line, or the set-up of a scenario, is wrong.
pub(super) const EXIT_USAGE: u8 = 64;

/// What libtest and its kind end with when a test has failed.
const EXIT_FAILED: u8 = 101;

/// What all trials share.
struct Suite {
    project: Project,
    found: Mutex<Found>,
}

/// What is found out about the suite as a whole.
#[derive(Default)]
struct Found {
    vacuity: Vacuity,
    /// What is wrong with the set-up of a scenario: it is told once.
    set_up: Option<String>,
}

pub(super) fn run(project: Project) -> ExitCode {
    let arguments = Arguments::from_args();
    let first = match first_seed(told_first()) {
        Ok(first) => first,
        Err(mistake) => {
            eprintln!("error: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let suite = Arc::new(Suite { project, found: Mutex::default() });
    let mut trials = graveyard_trials(&suite);
    trials.extend(scenario_trials(&suite, first));
    if !arguments.list {
        suite.note_graves_without_patch();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let found = suite.found();
    if found.set_up.is_some() {
        return ExitCode::from(EXIT_USAGE);
    }
    let is_whole = !arguments.list && conclusion.num_filtered_out == 0 && !conclusion.has_failed();
    if is_whole {
        eprint!("{}", found.vacuity);
    }
    if let Some(advice) = found.vacuity.advice().filter(|_| is_whole) {
        eprintln!("\n{advice}");
        return ExitCode::from(EXIT_FAILED);
    }
    conclusion.exit_code()
}

fn graveyard_trials(suite: &Arc<Suite>) -> Vec<Trial> {
    let trial = |file: std::path::PathBuf| {
        let suite = Arc::clone(suite);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let replay = move || {
            let tell_mistake = |mistake| suite.first_to_tell(mistake);
            Ok(graveyard::replay(&suite.project, &file, tell_mistake)?)
        };
        Trial::test(format!("graveyard::{name}"), replay)
    };
    graveyard::files(&suite.project.graveyard).into_iter().map(trial).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is about which worlds are rehearsed, not about what is in them"
)]
fn told_first() -> Option<OsString> {
    std::env::var_os(FROM)
}

/// The first of the fresh seeds: as `told`, or else another one each time.
fn first_seed(told: Option<OsString>) -> Result<u64, String> {
    // Small, so that a seed that fails is short to paste.
    let fresh = || RandomState::new().hash_one(0) % 1_000_000_000;
    let Some(told) = told.filter(|told| !told.is_empty()) else { return Ok(fresh()) };
    let seed = told.to_str().and_then(|told| told.parse().ok());
    let is_first = |seed: &u64| seed.checked_add(FRESH_SEEDS).is_some();
    seed.filter(is_first).ok_or_else(|| {
        format!("{FROM} is {told:?}: expected the first seed to rehearse, a whole number such as 7")
    })
}

fn scenario_trials(suite: &Arc<Suite>, first: u64) -> Vec<Trial> {
    let trial = |number: usize| {
        let suite = Arc::clone(suite);
        let name = suite.project.scenarios[number].name.clone();
        Trial::test(format!("scenario::{name}"), move || suite.rehearse_some(number, first))
    };
    (0..suite.project.scenarios.len()).map(trial).collect()
}

impl Suite {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_graves_without_patch(&self) {
        let graves = graveyard::all(&self.project).unwrap_or_default();
        for (file, _) in graves.iter().filter(|(_, plan)| plan.planted.is_none()) {
            eprintln!("note: {}", graveyard::without_patch(file));
        }
    }

    fn rehearse_some(&self, number: usize, first: u64) -> Result<(), Failed> {
        let scenario = &self.project.scenarios[number];
        let (mut faults, mut effective) = (0, 0);
        for seed in first..first + FRESH_SEEDS {
            if self.found().set_up.is_some() {
                return Err("not rehearsed: the set-up is to be mended first".into());
            }
            let rehearsal = rehearse_twice(scenario, &self.project.draw(scenario, seed));
            if let Some(mistake) = rehearsal.mistake() {
                return Err(self.first_to_tell(mistake).into());
            }
            if rehearsal.violation.is_some() {
                return Err(failure::explain(&self.project, scenario, &rehearsal, true).into());
            }
            faults += rehearsal.plan.faults.len();
            effective += graveyard::effective(&rehearsal);
            self.found().vacuity.add(&rehearsal);
        }
        // A suite of faults without effect would pass whatever the program does.
        if faults > 0 && effective == 0 {
            return Err(format!("none of {faults} faults touched a call: this proves nothing").into());
        }
        Ok(())
    }

    /// The mistake, or only that there is one if another trial has told it.
    fn first_to_tell(&self, mistake: String) -> String {
        let mut found = self.found();
        if found.set_up.is_some() {
            return "not rehearsed: the set-up is to be mended first".to_owned();
        }
        found.set_up.insert(mistake).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_seed_is_the_one_that_is_told() {
        assert_eq!(first_seed(Some("7".into())), Ok(7));
    }

    #[test]
    fn without_a_word_seeds_are_fresh_each_time() {
        let some: std::collections::BTreeSet<_> = (0..8).filter_map(|_| first_seed(None).ok()).collect();
        assert!(some.len() > 1, "{some:?}");
        assert!(first_seed(Some("".into())).is_ok(), "an empty variable is none");
    }

    #[test]
    fn what_is_no_seed_is_told_with_what_was_expected() {
        for wrong in ["-1", "seven", "18446744073709551615"] {
            let mistake = first_seed(Some(wrong.into())).unwrap_err();
            assert!(mistake.contains("REHEARSE_FROM") && mistake.contains(wrong), "{mistake}");
            assert!(mistake.contains("a whole number such as 7"), "{mistake}");
        }
    }
}
