//! One rehearsal, looked at closely.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::draw;
use crate::plan::Plan;
use crate::rehearsal::{Keep, Rehearsal, rehearse, rehearse_twice};
use crate::report;

use super::options::Options;
use super::{Runner, failure};

/// Rehearses the seed or the plan that the options name; whether all promises held.
pub(super) fn run(runner: &Runner, options: &Options) -> Result<bool, String> {
    let plan = plan(runner, options)?;
    let scenario = runner.named(&plan.scenario)?;
    let shows_events = options.trace || options.report.is_some();
    let keep = if shows_events { Keep::Trace } else { Keep::Hash };
    let rehearsal =
        if options.twice { rehearse_twice(scenario, &plan) } else { rehearse(scenario, &plan, keep) };
    if options.trace {
        // A reader that has seen enough closes the pipe; that is no error.
        print_trace(&rehearsal, options.request.as_deref()).unwrap_or_default();
    }
    if let Some(file) = &options.report {
        let again = match &options.plan {
            Some(plan) => format!("cargo sim --plan {}", plan.display()),
            None => rehearsal.command(),
        };
        fs::write(file, report::page(&rehearsal, &again))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        eprintln!("report in {}", file.display());
    }
    let held = rehearsal.violation.is_none();
    if options.json {
        println!("{}", json(&rehearsal)?);
    } else if held || shows_events {
        eprintln!("{rehearsal}");
    } else {
        let wants_shrink = !options.no_shrink && options.plan.is_none();
        println!("{}", failure::explain(scenario, &rehearsal, &runner.graveyard, wants_shrink));
    }
    Ok(held)
}

pub(super) fn json(rehearsal: &Rehearsal) -> Result<String, String> {
    serde_json::to_string(&rehearsal.summary()).map_err(|error| error.to_string())
}

/// Reads a plan, and checks that it fits one of the scenarios.
pub(super) fn read_plan(runner: &Runner, file: &Path) -> Result<Plan, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let plan = Plan::from_toml(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let scenario = runner.named(&plan.scenario)?;
    scenario.check(&plan).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(plan)
}

fn plan(runner: &Runner, options: &Options) -> Result<Plan, String> {
    if let Some(file) = &options.plan {
        return read_plan(runner, file);
    }
    let (Some(seed), [name]) = (options.seed, options.scenario.as_slice()) else {
        return Err("--seed needs exactly one --scenario".to_owned());
    };
    Ok(draw::plan(runner.named(name)?, seed, options.mutant.as_deref()))
}

fn print_trace(rehearsal: &Rehearsal, request: Option<&str>) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let belongs = |id: &Option<String>| request.is_none_or(|wanted| id.as_deref() == Some(wanted));
    for event in rehearsal.events.iter().filter(|event| belongs(&event.request_id)) {
        writeln!(out, "{event}")?;
    }
    out.flush()
}
