//! One rehearsal, looked at closely.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::plan::{Plan, Request};
use crate::rehearsal::{Keep, Rehearsal, rehearse, rehearse_twice};
use crate::report;
use crate::scenario::Scenario;
use crate::trace::event::Event;

use super::options::Options;
use super::project::Project;
use super::tool::twice;
use super::{failure, graveyard, user};

/// Rehearses the seed or the plan that the options name; whether all promises held.
pub(super) fn run(project: &Project, options: &Options) -> Result<bool, String> {
    let file = options.plan.as_deref().map(user::meant);
    let plan = plan(project, options, file.as_deref())?;
    let scenario = project.named(&plan.scenario)?;
    let rehearsal = play(scenario, &plan, options);
    if options.trace {
        // A reader that has seen enough closes the pipe; that is no error.
        print_trace(&rehearsal, options.request.as_deref()).unwrap_or_default();
    }
    let again = match &file {
        Some(file) => project.tool().plan(file, project.patch()),
        None => project.tool().seed(&plan, project.patch()),
    } + twice(&rehearsal);
    if let Some(report) = &options.report {
        let report = user::meant(report);
        fs::write(&report, report::page(&rehearsal, &again))
            .map_err(|error| format!("{}: {error}", report.display()))?;
        eprintln!("report in {}", user::shown(&report));
    }
    if options.json {
        println!("{}", json(&rehearsal)?);
    }
    if let Some(mistake) = rehearsal.mistake() {
        return Err(mistake);
    }
    let held = rehearsal.violation.is_none();
    match (held || options.trace || options.report.is_some(), file) {
        _ if options.json => {}
        (true, _) => eprintln!("{rehearsal}"),
        // The plan is in a file already, and stays as it is there.
        (false, Some(_)) => {
            println!("{rehearsal}\n  again     {again}\n{}", failure::show(scenario, &rehearsal))
        }
        (false, None) => println!("{}", failure::explain(project, scenario, &rehearsal, !options.no_shrink)),
    }
    Ok(held)
}

fn play(scenario: &Scenario, plan: &Plan, options: &Options) -> Rehearsal {
    let shows_events = options.trace || options.report.is_some();
    let keep = if shows_events { Keep::Trace } else { Keep::Hash };
    if !options.twice {
        return rehearse(scenario, plan, keep);
    }
    let mut twice = rehearse_twice(scenario, plan);
    if shows_events {
        twice.events = rehearse(scenario, plan, keep).events;
    }
    twice
}

pub(super) fn json(rehearsal: &Rehearsal) -> Result<String, String> {
    serde_json::to_string(&rehearsal.summary()).map_err(|error| error.to_string())
}

/// The plan that the options name.
pub(super) fn plan(project: &Project, options: &Options, file: Option<&Path>) -> Result<Plan, String> {
    if let Some(file) = file {
        let planted = project.patch().map(str::to_owned);
        return Ok(Plan { planted, ..graveyard::read(project, file)? });
    }
    let (Some(seed), [name]) = (options.seed, options.scenario.as_slice()) else {
        return Err("--seed needs exactly one --scenario".to_owned());
    };
    Ok(project.draw(project.named(name)?, seed))
}

/// Prints all that happened, or what belongs to one request.
pub(super) fn print_trace(rehearsal: &Rehearsal, request: Option<&str>) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let number = request.and_then(Request::number_of);
    let belongs = |event: &&Event| match request {
        Some(_) if event.request.is_some() && event.request == number => true,
        wanted => wanted.is_none() || event.request_id.as_deref() == wanted,
    };
    for event in rehearsal.events.iter().filter(belongs) {
        writeln!(out, "{event}")?;
    }
    out.flush()
}
