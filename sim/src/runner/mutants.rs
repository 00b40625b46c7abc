//! Planted bugs, one after the other: how soon each is found, and how small the plans get that find it.
//!
//! What is printed is a table in Markdown, so that it can be pasted into a page as it is.

use std::fmt;

use crate::plan::Plan;
use crate::rehearsal::{Keep, Rehearsal, rehearse};
use crate::scenario::Scenario;
use crate::shrink::{SHRINK_TIME, Shrunk, shrink};

use super::batch;
use super::options::Options;
use super::progress::Progress;

/// What the median of all shrunk plans may be at most.
const FAULTS_TARGET: f64 = 3.0;
const REQUESTS_TARGET: f64 = 5.0;
const SECONDS_TARGET: f64 = SHRINK_TIME.as_secs_f64();

/// Switches on every planted bug in turn, and shrinks what fails; whether all were found, and shrunk as far as the
/// targets have it.
pub(super) fn find_all(scenarios: &[&Scenario], options: &Options) -> bool {
    let planted =
        scenarios.iter().flat_map(|scenario| scenario.planted.iter().map(move |name| (*scenario, name)));
    let (mut all_found, mut cuts) = (true, Vec::new());
    let mut progress = Progress::start(None, true);
    println!("{}", header(options));
    for (scenario, name) in planted {
        let hunt = hunt(scenario, name, options, &mut progress);
        all_found &= hunt.promise.is_some();
        progress.print(&hunt.row(scenario, name, options));
        cuts.extend(hunt.cuts);
    }
    progress.finish();
    all_found & (cuts.is_empty() || reaches_targets(&cuts))
}

/// How one planted bug was looked for.
#[derive(Debug, Default)]
struct Hunt {
    /// How many seeds it took to find it first.
    seeds: u64,
    /// The promise that it broke then.
    promise: Option<String>,
    /// What became of each plan that failed.
    cuts: Vec<Cut>,
}

/// How far one plan was shrunk.
#[derive(Debug)]
struct Cut {
    /// How many there were before, and how many there are.
    faults: (f64, f64),
    /// Requests and probes, before and now.
    requests: (f64, f64),
    plans: f64,
    seconds: f64,
    /// Whether the bug is what breaks the promise, and not something else that the shrunk plan does.
    is_of_bug: bool,
    command: String,
}

fn hunt(scenario: &Scenario, name: &str, options: &Options, progress: &mut Progress) -> Hunt {
    let options = Options { mutant: Some(name.to_owned()), jobs: Some(1), ..options.clone() };
    let mut hunt = Hunt::default();
    let mut failures = 0;
    batch::each(&[scenario], &options, |_, rehearsal| {
        progress.add(&rehearsal.summary());
        hunt.seeds += u64::from(hunt.promise.is_none());
        let Some(violation) = &rehearsal.violation else { return true };
        hunt.promise.get_or_insert_with(|| violation.promise.clone());
        failures += 1;
        if !options.no_shrink {
            hunt.cuts.push(Cut::new(scenario, &rehearsal, &shrink(scenario, &rehearsal, SHRINK_TIME)));
        }
        failures < options.failures_max()
    });
    hunt
}

impl Cut {
    fn new(scenario: &Scenario, failed: &Rehearsal, shrunk: &Shrunk) -> Self {
        let (before, after) = (&failed.plan, &shrunk.rehearsal.plan);
        Self {
            faults: (before.faults.len() as f64, after.faults.len() as f64),
            requests: (calls(before), calls(after)),
            plans: shrunk.tried as f64,
            seconds: shrunk.wall.as_secs_f64(),
            is_of_bug: rehearse(scenario, &Plan { planted: None, ..after.clone() }, Keep::Hash)
                .violation
                .is_none(),
            command: failed.command(),
        }
    }

    fn reaches_targets(&self) -> bool {
        self.is_of_bug
            && self.faults.1 <= FAULTS_TARGET
            && self.requests.1 <= REQUESTS_TARGET
            && self.seconds <= SECONDS_TARGET
    }
}

/// A probe that must be there for the promise to be broken is a request as well.
fn calls(plan: &Plan) -> f64 {
    (plan.requests.len() + plan.probes.len()) as f64
}

fn header(options: &Options) -> String {
    let columns = if options.no_shrink {
        ""
    } else {
        " shrunk | faults (most) | requests (most) | plans tried (most) | seconds (most) |"
    };
    let rules = columns.split('|').skip(1).map(|_| "---|").collect::<String>();
    format!(
        "| {:<30} | {:<9} | seeds |{columns} the promise that it breaks |\n|---|---|---|{rules}---|",
        "planted bug", "scenario"
    )
}

impl Hunt {
    /// The line of the table. Sizes are medians; in parentheses is the most.
    fn row(&self, scenario: &Scenario, name: &str, options: &Options) -> String {
        let mut row = format!("| {:<30} | {:<9} | {:>5} |", format!("`{name}`"), scenario.name, self.seeds);
        if !options.no_shrink {
            let before = |of: fn(&Cut) -> f64| median(&self.cuts, of);
            let after = |of: fn(&Cut) -> f64, digits| spread(&self.cuts, of, digits);
            row += &format!(
                " {:>6} | {:>2} → {} | {:>2} → {} | {:>9} | {:>9} |",
                self.cuts.len(),
                before(|cut| cut.faults.0),
                after(|cut| cut.faults.1, 0),
                before(|cut| cut.requests.0),
                after(|cut| cut.requests.1, 0),
                after(|cut| cut.plans, 0),
                after(|cut| cut.seconds, 1)
            );
        }
        format!("{row} {} |", self.promise.as_deref().unwrap_or("NOT FOUND"))
    }
}

/// Prints the medians over all, and every plan that stays above a target; whether the medians reach theirs.
fn reaches_targets(cuts: &[Cut]) -> bool {
    let middle = Cut {
        faults: (0.0, median(cuts, |cut| cut.faults.1)),
        requests: (0.0, median(cuts, |cut| cut.requests.1)),
        plans: median(cuts, |cut| cut.plans),
        seconds: median(cuts, |cut| cut.seconds),
        is_of_bug: cuts.iter().all(|cut| cut.is_of_bug),
        command: String::new(),
    };
    println!("\nmedian of {} shrunk plans: {middle}", cuts.len());
    println!("targets: at most {FAULTS_TARGET} faults, {REQUESTS_TARGET} requests, {SECONDS_TARGET} s");
    for cut in cuts.iter().filter(|cut| !cut.reaches_targets()) {
        let what = if cut.is_of_bug { "above" } else { "fails without the bug, too" };
        println!("{what}: {cut}: {}", cut.command);
    }
    middle.reaches_targets()
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, requests, plans, seconds, .. } = self;
        write!(f, "{} fault(s), {} request(s), {plans} plans tried, {seconds:.1} s", faults.1, requests.1)
    }
}

/// The value that half of them do not exceed; of an even count the upper of the two in the middle.
fn median(cuts: &[Cut], of: fn(&Cut) -> f64) -> f64 {
    let mut values: Vec<_> = cuts.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median, and the most, with so many digits.
fn spread(cuts: &[Cut], of: fn(&Cut) -> f64, digits: usize) -> String {
    let most = cuts.iter().map(of).fold(0.0, f64::max);
    format!("{:.digits$} ({most:.digits$})", median(cuts, of))
}
