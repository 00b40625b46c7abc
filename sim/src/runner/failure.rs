//! What is said, and kept, about a rehearsal that failed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::rehearsal::Rehearsal;
use crate::scenario::Scenario;
use crate::shrink::{SHRINK_TIME, shrink};

/// Shrinks `failed` if wanted, keeps its plan in `graveyard`, and tells all about it.
pub(super) fn explain(
    scenario: &Scenario,
    failed: &Rehearsal,
    graveyard: &Path,
    wants_shrink: bool,
) -> String {
    let mut text = format!("{failed}\n  again     {}\n", failed.command());
    let mut smallest = failed.clone();
    if wants_shrink {
        let shrunk = shrink(scenario, failed, SHRINK_TIME);
        let plan = &shrunk.rehearsal.plan;
        text += &format!(
            "\nshrunk to {} fault(s), {} request(s) and {} probe(s), by {} rehearsals in {:.1} s\n",
            plan.faults.len(),
            plan.requests.len(),
            plan.probes.len(),
            shrunk.tried,
            shrunk.wall.as_secs_f64()
        );
        smallest = shrunk.rehearsal;
    }
    text += &smallest.plan.to_string();
    if let Some(violation) = &smallest.violation {
        text += &format!("  violated  {violation}\n");
    }
    text + &bury(&smallest, graveyard)
}

/// Writes the plan to a file; where, or why not.
fn bury(rehearsal: &Rehearsal, graveyard: &Path) -> String {
    let plan = &rehearsal.plan;
    // A planted bug proves nothing about the program once it is switched off.
    let folder = if plan.planted.is_some() { std::env::temp_dir() } else { graveyard.to_owned() };
    let file = folder.join(format!("{}-{}.toml", plan.scenario, plan.seed));
    let promise = rehearsal.violation.as_ref().map(|violation| format!("# Violated: {violation}\n"));
    let written = plan.to_toml().map_err(|error| error.to_string()).and_then(|plan| {
        let text = promise.unwrap_or_default().replace("\n#", " ") + &plan;
        fs::create_dir_all(&folder).and_then(|()| fs::write(&file, text)).map_err(|error| error.to_string())
    });
    match written {
        Ok(()) => format!("  plan      {} --plan {}\n", plan.tool(), file.display()),
        Err(error) => format!("  plan      {} could not be written: {error}\n", file.display()),
    }
}

/// The plans in `graveyard`, in the order of their names.
pub(super) fn buried(graveyard: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(graveyard).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}
