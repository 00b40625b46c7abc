//! What is said, and kept, about a rehearsal that failed.

use crate::rehearsal::{Keep, Rehearsal, rehearse};
use crate::scenario::Scenario;
use crate::shrink::{SHRINK_TIME, shrink};
use crate::violation::Violation;
use crate::why::Why;

use super::graveyard;
use super::project::Project;
use super::tool::twice;

/// Shrinks `failed` if wanted, keeps its plan in the graveyard, and tells all about it.
pub(super) fn explain(
    project: &Project,
    scenario: &Scenario,
    failed: &Rehearsal,
    wants_shrink: bool,
) -> String {
    let (again, twice) = (project.tool().seed(&failed.plan, project.patch()), twice(failed));
    let mut text = format!("{failed}\n  again     {again}{twice}\n");
    let mut smallest = failed.clone();
    if wants_shrink && failed.takes_two() {
        text += "\nnot shrunk: it takes two plays of a plan to see this\n";
    } else if wants_shrink {
        let shrunk = shrink(scenario, failed, SHRINK_TIME);
        let plan = &shrunk.rehearsal.plan;
        text += &format!(
            "\nshrunk to {} fault(s), {} request(s) and {} probe(s), by {} rehearsals in {:.1} s{}\n",
            plan.faults.len(),
            plan.requests.len(),
            plan.probes.len(),
            shrunk.tried,
            shrunk.wall.as_secs_f64(),
            if shrunk.is_whole { "" } else { ", when its time was up" }
        );
        smallest = shrunk.rehearsal;
    }
    text += &show(scenario, &smallest);
    text += &match graveyard::keep(&smallest, &project.graveyard) {
        Ok(file) => format!("  plan      {}{twice}\n", project.tool().plan(&file, project.patch())),
        Err(error) => format!("  plan      {error}\n"),
    };
    text
}

/// The plan, the promise that it broke, and what led there.
pub(super) fn show(scenario: &Scenario, failed: &Rehearsal) -> String {
    // Most rehearsals pass, so that their events are not kept.
    let traced = rehearse(scenario, &failed.plan, Keep::Trace);
    let why = why(&traced);
    let violation = failed.violation.as_ref().map(|violation| {
        let Violation { promise, detail, at, .. } = violation;
        format!("  violated  {promise}\n  seen      {detail} (at {} ms)\n", at.as_millis())
    });
    format!("{}{}{why}", failed.plan, violation.unwrap_or_default())
}

/// What led to the violation of a rehearsal whose events were kept.
pub(super) fn why(traced: &Rehearsal) -> String {
    Why::of(traced).map(|why| why_in_lines(&why)).unwrap_or_default()
}

fn why_in_lines(why: &Why<'_>) -> String {
    let lines = |name: &str, lines: Vec<String>| {
        let mut names = std::iter::once(name).chain(std::iter::repeat(""));
        lines.into_iter().map(|line| format!("  {:<9} {line}\n", names.next().unwrap_or_default())).collect()
    };
    let (last, way): (String, String) = (lines("before", why.last()), lines("why", why.way()));
    last + &way
}
