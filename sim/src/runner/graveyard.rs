//! The graveyard: plans that once failed. On the program as it is they must pass; with the patch that a plan names, they must
//! fail again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::plan::Plan;
use crate::rehearsal::{Rehearsal, rehearse_twice};

use super::project::Project;
use super::tool::twice;
use super::user;

/// The files of all plans, in the order of their names.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// All plans, each with its file.
pub(super) fn all(project: &Project) -> Result<Vec<(PathBuf, Plan)>, String> {
    let files = files(&project.graveyard).into_iter();
    files.map(|file| read(project, &file).map(|plan| (file, plan))).collect()
}

/// Reads a plan, and checks that it fits one of the scenarios.
pub(super) fn read(project: &Project, file: &Path) -> Result<Plan, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let plan = Plan::from_toml(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let scenario = project.named(&plan.scenario).map_err(|error| format!("{}: {error}", file.display()))?;
    scenario.world_for(&plan).map(drop).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(plan)
}

/// Plays the plan in `file` on the program as it is. It must pass, and still be about something. A mistake in the set-up is
/// told by `tell_mistake`.
pub(super) fn replay(
    project: &Project,
    file: &Path,
    tell_mistake: impl FnOnce(String) -> String,
) -> Result<(), String> {
    let plan = read(project, file)?;
    if let Some(name) = &plan.planted
        && !project.has_patch(name)
    {
        return Err(format!("{} names the patch {name:?}, which is not there", user::shown(file)));
    }
    let played = rehearse_twice(project.named(&plan.scenario)?, &Plan { planted: None, ..plan });
    if let Some(mistake) = played.mistake() {
        return Err(tell_mistake(mistake));
    }
    if played.violation.is_some() {
        let again = project.tool().plan(file, None);
        return Err(format!("{played}\n  again     {again}{}", twice(&played)));
    }
    judge_effect(&played)
}

fn judge_effect(played: &Rehearsal) -> Result<(), String> {
    if played.plan.faults.is_empty() || effective(played) > 0 {
        return Ok(());
    }
    Err(format!("{played}\nIt is stale: none of its faults has an effect, so that it proves nothing."))
}

/// How many faults of the plan had an effect on a call.
pub(super) fn effective(played: &Rehearsal) -> usize {
    played.effective.iter().filter(|effective| **effective).count()
}

/// What is said of a plan that names no patch.
pub(super) fn without_patch(file: &Path) -> String {
    format!(
        "{} names no patch (planted = \"NAME\") that brings its bug back: nothing shows that it could still fail",
        user::shown(file)
    )
}

/// Writes the plan to a file, with the promise that it breaks; where, or why not.
pub(super) fn keep(rehearsal: &Rehearsal, folder: &Path) -> Result<PathBuf, String> {
    let plan = &rehearsal.plan;
    let file = folder.join(format!("{}-{}.toml", plan.scenario, plan.seed));
    let promise = rehearsal.violation.as_ref().map(|violation| violation.to_string().replace('\n', " "));
    let comment = promise.map(|promise| format!("# Violated: {promise}\n")).unwrap_or_default();
    let text = comment + &plan.to_toml().map_err(|error| error.to_string())?;
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, text));
    written.map_err(|error| format!("{} could not be written: {error}", file.display()))?;
    Ok(file)
}
