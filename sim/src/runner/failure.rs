//! What is said, and kept, about a rehearsal that failed.

use crate::rehearsal::Rehearsal;
use crate::scenario::Scenario;
use crate::shrink::{SHRINK_TIME, shrink};
use crate::violation::ViolationKind;

use super::graveyard;
use super::project::Project;

/// Shrinks `failed` if wanted, keeps its plan in the graveyard, and tells all about it.
pub(super) fn explain(
    project: &Project,
    scenario: &Scenario,
    failed: &Rehearsal,
    wants_shrink: bool,
) -> String {
    let again = project.tool().seed(&failed.plan, project.patch());
    let mut text = format!("{failed}\n  again     {again}\n");
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
    text += &show(&smallest);
    text += &match graveyard::keep(&smallest, &project.graveyard) {
        Ok(file) => format!("  plan      {}\n", project.tool().plan(&file, project.patch())),
        Err(error) => format!("  plan      {error}\n"),
    };
    text
}

/// The plan, and the promise that it broke.
pub(super) fn show(failed: &Rehearsal) -> String {
    let violation = failed.violation.as_ref().map(|violation| format!("  violated  {violation}\n"));
    format!("{}{}", failed.plan, violation.unwrap_or_default())
}

/// What is wrong with the set-up, if that is what `rehearsal` found out: then no plan is to blame, and nothing is kept.
pub(super) fn of_set_up(rehearsal: &Rehearsal) -> Option<String> {
    let violation =
        rehearsal.violation.as_ref().filter(|violation| violation.kind == ViolationKind::SetUp)?;
    Some(format!("{} is not set up as it must be: {}", rehearsal.plan.scenario, violation.detail))
}
