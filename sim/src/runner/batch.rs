//! Many rehearsals, as many at once as there are jobs.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::plan::Plan;
use crate::rehearsal::{Keep, Rehearsal, rehearse, rehearse_twice};
use crate::scenario::Scenario;

use super::failure;
use super::options::Options;
use super::progress::Progress;
use super::project::Project;
use super::single;
use super::vacuity::Vacuity;

/// Rehearses the seeds that the options name; whether all promises held.
pub(super) fn run(project: &Project, scenarios: &[&Scenario], options: &Options) -> Result<bool, String> {
    let total = options.seed_count().map(|_| options.share() * scenarios.len() as u64);
    let mut progress = Progress::start(total, !options.json);
    let (mut trouble, mut vacuity, mut is_whole) = (Ok(()), Vacuity::default(), options.scenario.is_empty());
    let play = |scenario: &Scenario, plan: &Plan| rehearsed(scenario, plan, options);
    each(project, scenarios, options, play, |scenario, rehearsal| {
        progress.add(&rehearsal.summary());
        vacuity.add(&rehearsal);
        if options.json {
            match single::json(&rehearsal) {
                // A reader that has seen enough closes the pipe; nothing more is asked then.
                Ok(line) if writeln!(std::io::stdout(), "{line}").is_err() => return false,
                Ok(_) => {}
                Err(error) => trouble = Err(error),
            }
        }
        if let Some(mistake) = rehearsal.mistake() {
            trouble = Err(mistake);
            return false;
        }
        if rehearsal.violation.is_some() && !options.json {
            progress.print(&failure::explain(project, scenario, &rehearsal, !options.no_shrink));
        }
        let goes_on = progress.violated < options.failures_max();
        is_whole &= goes_on;
        goes_on
    });
    progress.finish();
    trouble?;
    if !options.json {
        println!("{progress}");
    }
    if is_whole {
        eprint!("{vacuity}");
    }
    Ok(progress.violated == 0)
}

/// Plays a seed of every scenario in turn, and shows what comes of each to `show`, in the order in which they end, until
/// it says no.
#[expect(clippy::disallowed_methods, reason = "--time is about the real world")]
pub(super) fn each<'a, T: Send>(
    project: &Project,
    scenarios: &[&'a Scenario],
    options: &Options,
    play: impl Fn(&'a Scenario, &Plan) -> T + Sync,
    mut show: impl FnMut(&'a Scenario, T) -> bool,
) {
    if scenarios.is_empty() {
        return;
    }
    let jobs = options.job_count();
    let ends_at = options.time.map(|time| Instant::now() + time);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = options.share().saturating_mul(scenarios.len() as u64);
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(jobs);
        for _ in 0..jobs {
            let sender = sender.clone();
            let (play, next, stop) = (&play, &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && ends_at.is_none_or(|end| Instant::now() < end) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= total {
                        break;
                    }
                    let (scenario, plan) = nth(project, scenarios, options, n);
                    if sender.send((scenario, play(scenario, &plan))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (scenario, played) in results {
            if !stop.load(Ordering::Relaxed) && !show(scenario, played) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
}

/// Goes round the scenarios with each seed, so that any part of a batch is a fair sample.
fn nth<'a>(project: &Project, scenarios: &[&'a Scenario], options: &Options, n: u64) -> (&'a Scenario, Plan) {
    let count = scenarios.len() as u64;
    let scenario = scenarios[usize::try_from(n % count).unwrap_or_default()];
    (scenario, project.draw(scenario, options.seed_at(n / count)))
}

/// What comes of a plan in a simulated world, played as the options have it.
pub(super) fn rehearsed(scenario: &Scenario, plan: &Plan, options: &Options) -> Rehearsal {
    if options.twice { rehearse_twice(scenario, plan) } else { rehearse(scenario, plan, Keep::Hash) }
}
