//! What planted bugs prove: that each is found, that what is found is small, and that the plans of the graveyard still fail
//! with the bugs that they name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::de::DeserializeOwned;

use super::build::{Built, Workshop, run};
use super::hunt::{Cut, Hunt, Replay};
use super::patch::Patch;
use super::table;
use crate::plan::Plan;
use crate::rehearsal::{Keep, rehearse};
use crate::runner::options::Options;
use crate::runner::progress::Progress;
use crate::runner::project::Project;
use crate::runner::tool::TOOL;
use crate::runner::{graveyard, user};

/// What is said before the first build: until it is done, no line of the table can come.
const BUILDS: &str =
    "builds the whole workspace once in a copy of it, which may take minutes, then what each patch touches";

/// How many seeds of a scenario a bug may take, where nothing else is said.
const SEEDS: u64 = 100;

/// What is found out about the patches, one after the other.
pub(super) struct Proof<'a> {
    project: &'a Project,
    options: &'a Options,
    shrinks: bool,
    workshop: &'a Workshop,
    graves: Vec<(PathBuf, Plan)>,
    progress: Progress,
    /// Every plan that was shrunk.
    cuts: Vec<Cut>,
    /// What is to be said of the graveyard.
    replays: Vec<String>,
    /// What is not as it must be.
    troubles: Vec<String>,
}

impl<'a> Proof<'a> {
    /// Prints the head of the table.
    pub(super) fn begin(
        project: &'a Project,
        options: &'a Options,
        workshop: &'a Workshop,
    ) -> Result<Self, String> {
        let graves = graveyard::all(project)?;
        let shrinks = !options.no_shrink;
        println!("{}", table::header(shrinks));
        let progress = Progress::start(None, true);
        progress.say(BUILDS);
        Ok(Self {
            project,
            options,
            shrinks,
            workshop,
            graves,
            progress,
            cuts: Vec::new(),
            replays: Vec::new(),
            troubles: Vec::new(),
        })
    }

    /// Has the program that was built with `patch` look for its bug, and plays what the graveyard has of it. `nth` says
    /// how far all is, such as `3 of 40`.
    #[expect(clippy::disallowed_methods, reason = "how long it takes is about the real world")]
    pub(super) fn prove(&mut self, patch: &Patch, built: Built, nth: &str) {
        let (name, begun) = (&patch.name, Instant::now());
        match built.program {
            Ok(program) => {
                self.hunt(patch, &program);
                self.replay(patch, &program);
            }
            Err(error) => {
                let scenarios = patch.scenarios.join(", ");
                self.progress.print(&table::row_without(name, &scenarios, error.what, self.shrinks));
                self.troubles.push(format!("{} {}:\n{}", user::shown(&patch.file), error.what, error.why));
            }
        }
        let (building, playing) = (built.took.as_secs_f64(), begun.elapsed().as_secs_f64());
        self.progress.say(&format!("{nth}: {name}, built in {building:.1} s, played for {playing:.1} s"));
    }

    /// Has the patched program look for its bug.
    fn hunt(&mut self, patch: &Patch, program: &Path) {
        let seeds = self.options.seeds.or(patch.seeds).unwrap_or(SEEDS);
        if seeds == 0 {
            let row =
                table::row_without(&patch.name, &patch.scenarios.join(", "), IN_GRAVEYARD, self.shrinks);
            return self.progress.print(&row);
        }
        self.progress.note(&format!("{}: rehearsing {}", patch.name, patch.scenarios.join(", ")));
        let mut command = self.patched(patch, program);
        command.args(["--seeds", &seeds.to_string(), "--from", &self.options.from.to_string()]);
        if self.options.keep_going {
            command.arg("--keep-going");
        } else {
            command.args(["--failures", &self.options.failures_max().to_string()]);
        }
        command.args(self.options.no_shrink.then_some("--no-shrink"));
        for scenario in &patch.scenarios {
            command.args(["--scenario", scenario]);
        }
        match ask::<Hunt>(&mut command) {
            Ok(hunts) if hunts.len() == patch.scenarios.len() => {
                hunts.into_iter().for_each(|hunt| self.judge(patch, hunt, seeds));
            }
            Ok(_) => self.troubles.push(format!("{}: {SAID_NOTHING}", patch.name)),
            Err(error) => self.troubles.push(format!("{}: the patched program failed: {error}", patch.name)),
        }
    }

    fn judge(&mut self, patch: &Patch, hunt: Hunt, seeds: u64) {
        self.progress.print(&table::row(&patch.name, &hunt, self.shrinks));
        if hunt.promise.is_none() {
            let name = &patch.name;
            self.troubles.push(format!("{name} is not found within {seeds} seeds of {}", hunt.scenario));
        }
        for cut in &hunt.cuts {
            if let Err(error) = self.is_of_bug(patch, cut) {
                self.troubles.push(error);
            }
        }
        if self.options.planted_name().is_some()
            && let Some((cut, plan)) = hunt.cuts.first().and_then(|cut| Some((cut, read(cut).ok()?)))
        {
            let again = self.project.tool().seed(&plan, Some(&patch.name));
            self.replays.push(format!("{plan}  violated  {}\n  again     {again}", cut.violation));
        }
        self.cuts.extend(hunt.cuts);
    }

    /// Whether the bug is what breaks the promise, and not something else that the shrunk plan does.
    fn is_of_bug(&self, patch: &Patch, cut: &Cut) -> Result<(), String> {
        let plan = Plan { planted: None, ..read(cut)? };
        let played = rehearse(self.project.named(&plan.scenario)?, &plan, Keep::Hash);
        let Some(violation) = played.violation else { return Ok(()) };
        let again = self.project.tool().seed(&plan, Some(&patch.name));
        Err(format!("a shrunk plan of {} fails without the bug, too: {violation}: {again}", patch.name))
    }

    /// Plays the plans of the graveyard that the bug is in: with it they must fail.
    fn replay(&mut self, patch: &Patch, program: &Path) {
        let graves = self.graves.iter().filter(|(_, plan)| plan.planted.as_ref() == Some(&patch.name));
        let graves: Vec<_> = graves.map(|(file, _)| file.clone()).collect();
        if graves.is_empty() && patch.seeds == Some(0) {
            self.troubles
                .push(format!("{} is looked for nowhere: no plan of the graveyard names it", patch.name));
        }
        for file in graves {
            let mut command = self.patched(patch, program);
            let replays = ask::<Replay>(command.arg("--plan").arg(&file));
            let outcome = replays.and_then(|replays| outcome(replays.first()));
            let line = |text: &str| format!("{}, with {}: {text}", user::shown(&file), patch.name);
            match outcome {
                Ok(violation) => self.replays.push(line(&violation)),
                Err(error) => self.troubles.push(line(&error)),
            }
        }
    }

    fn patched(&self, patch: &Patch, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg(TOOL).arg("--hunt").args(self.workshop.tells(&patch.name));
        command
    }

    /// A plan that names no patch proves nothing.
    pub(super) fn note_graves_without_patch(&mut self) {
        let graves = self.graves.iter().filter(|(_, plan)| plan.planted.is_none());
        self.troubles.extend(graves.map(|(file, _)| graveyard::without_patch(file)));
    }

    /// Prints what follows the table; whether all is as it must be.
    pub(super) fn finish(self) -> bool {
        self.progress.finish();
        let mut held = self.troubles.is_empty();
        let most = self.options.plan_size;
        if !self.cuts.is_empty() {
            println!("\n{}", table::medians(&self.cuts, most));
            held &= table::reaches_targets(&self.cuts, most);
        }
        let is_above = |cut: &&Cut| !table::reaches_targets(std::slice::from_ref(*cut), most);
        self.cuts.iter().filter(is_above).for_each(|cut| {
            let again = read(cut).map(|plan| self.project.tool().seed(&plan, plan.planted.as_deref()));
            println!("above: {cut}: {}", again.unwrap_or_default());
        });
        self.replays.iter().for_each(|line| println!("\n{line}"));
        self.troubles.iter().for_each(|trouble| println!("\nFAILED {trouble}"));
        held
    }
}

const SAID_NOTHING: &str = "the patched program did not say what it found";

/// In the table, in place of a promise, for what no seed is asked to show.
const IN_GRAVEYARD: &str = "see the graveyard";

fn read(cut: &Cut) -> Result<Plan, String> {
    Plan::from_toml(&cut.plan).map_err(|error| error.to_string())
}

/// The promise that the plan breaks; or else why it proves nothing.
fn outcome(replay: Option<&Replay>) -> Result<String, String> {
    match replay {
        Some(Replay { violation: None, .. }) => Err("it passes, so it no longer shows the bug".to_owned()),
        Some(Replay { faults: 1.., effective: 0, .. }) => Err("none of its faults has an effect".to_owned()),
        Some(Replay { violation: Some(violation), .. }) => Ok(violation.clone()),
        None => Err(SAID_NOTHING.to_owned()),
    }
}

/// The lines with which the patched program answers; a host may print others.
fn ask<T: DeserializeOwned>(command: &mut Command) -> Result<Vec<T>, String> {
    let printed = run(command)?;
    Ok(printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(violation: Option<&str>, faults: usize, effective: usize) -> Result<String, String> {
        outcome(Some(&Replay { violation: violation.map(str::to_owned), faults, effective }))
    }

    #[test]
    fn a_plan_of_the_graveyard_proves_its_bug_by_failing_with_faults_that_have_an_effect() {
        assert_eq!(replay(Some("late"), 2, 1), Ok("late".to_owned()));
        assert_eq!(replay(Some("late"), 0, 0), Ok("late".to_owned()));
        assert!(replay(None, 2, 1).unwrap_err().contains("it passes"));
        assert!(replay(Some("late"), 2, 0).unwrap_err().contains("none of its faults"));
    }
}
