//! Planted bugs: patches that bring a mistake into a copy of the program, to prove that rehearsals find it.
//!
//! The program that runs is the clean one. It builds itself once more for each patch, asks the patched program to look for
//! the bug and to shrink what fails, and plays the shrunk plans itself: without the bug they must pass.

mod build;
mod copy;
mod deps;
mod folder;
mod hunt;
mod patch;
mod proof;
mod table;

use std::process::{Command, ExitCode};
use std::sync::mpsc;

use super::options::Options;
use super::progress::Progress;
use super::project::Project;
use super::{graveyard, user};
use build::{Built, Workshop};
use proof::Proof;

pub(super) use hunt::run as hunt_here;
pub(super) use patch::Patch;

/// Looks for every planted bug, or for the one that the options name, and prints the table; whether all were found, were
/// shrunk as far as the targets have it, and are what fails the plans of the graveyard.
pub(super) fn find_all(project: &Project, options: &Options) -> Result<bool, String> {
    let patches = patch::chosen(project, options)?;
    let workshop = Workshop::open(&project.manifest_dir, project.tool())?;
    let workshops = workshop.with_others(workshop_count(options, patches.len()))?;
    let mut proof = Proof::begin(project, options, &workshops[0])?;
    std::thread::scope(|scope| {
        let built: Vec<_> = (0..workshops.len())
            .map(|nth| {
                // One is built while the last one plays, and each workshop is one ahead at most.
                let (deliver, built) = mpsc::sync_channel(1);
                let workshop = &workshops[nth];
                let mut patches = patches.iter().skip(nth).step_by(workshops.len());
                scope.spawn(move || patches.all(|patch| deliver.send(Built::of(workshop, patch)).is_ok()));
                built
            })
            .collect();
        // Each workshop in its turn, so that the table is in the order of the patches.
        for (index, (patch, built)) in patches.iter().zip(built.iter().cycle()).enumerate() {
            let Ok(built) = built.recv() else { break };
            proof.prove(patch, built, &format!("{} of {}", index + 1, patches.len()));
            workshops[0].forget(patch);
        }
    });
    if options.planted_name().is_none() && options.scenario.is_empty() {
        proof.note_graves_without_patch();
    }
    let held = proof.finish();
    workshops.iter().try_for_each(Workshop::close).map(|()| held)
}

/// As many as there are jobs, within reason: four build as fast as one plays, and a workshop is worth what it costs to open
/// (the time of two or three builds, some hundred megabytes of disk until all is done) for a handful of patches.
fn workshop_count(options: &Options, patches: usize) -> usize {
    const MOST: usize = 4;
    const PATCHES_EACH: usize = 5;
    options.job_count().min(MOST).min(patches / PATCHES_EACH).max(1)
}

/// Plays the seed or the plan that the options name under a planted bug: hands all over to the patched program.
pub(super) fn play(project: &Project, options: &Options) -> Result<ExitCode, String> {
    let name = match (options.planted_name(), &options.plan) {
        (Some(name), _) => name.to_owned(),
        (None, Some(file)) => graveyard::read(project, &user::meant(file))?
            .planted
            .ok_or("the plan names no planted bug: expected --planted NAME")?,
        (None, None) => return Err("--seed needs --planted NAME".to_owned()),
    };
    let patch = patch::named(Patch::all(&project.planted)?, &name)?;
    let workshop = Workshop::open(&project.manifest_dir, project.tool())?;
    let progress = Progress::start(None, true);
    progress.say(&format!("builds {name} in a copy of the workspace, which may take minutes the first time"));
    let program = workshop.build(&patch).map_err(|error| format!("{name} {}:\n{}", error.what, error.why))?;
    progress.finish();
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    let status = command.args(workshop.tells(&name)).status();
    let status = status.map_err(|error| format!("the patched program could not be started: {error}"))?;
    workshop.forget(&patch);
    workshop.close()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
