//! The table of planted bugs: how soon each is found, and how small the plans get that find it. It is Markdown, so that it
//! can be pasted into a page as it is.

use super::super::options::PlanSize;
use super::hunt::{Cut, Hunt};
use crate::shrink::SHRINK_TIME;

/// The first two lines.
pub(super) fn header(shrinks: bool) -> String {
    let columns = if shrinks {
        " shrunk | faults (most) | requests (most) | plans tried (most) | seconds (most) |"
    } else {
        ""
    };
    let rules = columns.split('|').skip(1).map(|_| "---|").collect::<String>();
    format!(
        "| {:<30} | {:<16} | seeds |{columns} the promise that it breaks |\n|---|---|---|{rules}---|",
        "planted bug", "scenario"
    )
}

/// One line. Sizes are medians; in parentheses is the most.
pub(super) fn row(name: &str, hunt: &Hunt, shrinks: bool) -> String {
    let mut row = begin(name, &hunt.scenario, &hunt.seeds.to_string());
    if shrinks {
        let cuts = &hunt.cuts;
        let before = |of: fn(&Cut) -> f64| median(cuts, of);
        let after = |of: fn(&Cut) -> f64, digits| spread(cuts, of, digits);
        row += &format!(
            " {:>6} | {:>2} → {} | {:>2} → {} | {:>9} | {:>9} |",
            cuts.len(),
            before(|cut| cut.faults.0 as f64),
            after(faults, 0),
            before(|cut| cut.requests.0 as f64),
            after(requests, 0),
            after(plans, 0),
            after(seconds, 1)
        );
    }
    format!("{row} {} |", hunt.promise.as_deref().unwrap_or("NOT FOUND"))
}

/// The line of a bug that could not be looked for.
pub(super) fn row_without(name: &str, scenarios: &str, why: &str, shrinks: bool) -> String {
    let columns = if shrinks { " |".repeat(5) } else { String::new() };
    format!("{}{columns} {why} |", begin(name, scenarios, ""))
}

fn begin(name: &str, scenario: &str, seeds: &str) -> String {
    format!("| {:<30} | {scenario:<16} | {seeds:>5} |", format!("`{name}`"))
}

/// The medians over all shrunk plans, the targets, and how many plans these do not concern.
pub(super) fn medians(cuts: &[Cut], most: PlanSize) -> String {
    let late = cuts.iter().filter(|cut| !cut.is_whole).count();
    let note = match late {
        0 => String::new(),
        _ => {
            let bound = SHRINK_TIME.as_secs();
            format!("\nnote: {late} of them not shrunk to the end, for that takes more than {bound} s here")
        }
    };
    format!(
        "median of {} shrunk plans: {} fault(s), {} request(s), {} plans tried, {:.1} s\n\
        targets: at most {} faults, {} requests{note}",
        cuts.len(),
        median(cuts, faults),
        median(cuts, requests),
        median(cuts, plans),
        median(cuts, seconds),
        most.faults,
        most.requests
    )
}

/// Whether the medians are `most` at most; where nothing was shrunk to the end, they are. How long that took is no target, and
/// what was not shrunk to the end is not judged: both say something about the machine.
pub(super) fn reaches_targets(cuts: &[Cut], most: PlanSize) -> bool {
    let whole = || cuts.iter().filter(|cut| cut.is_whole);
    median(whole(), faults) <= most.faults as f64 && median(whole(), requests) <= most.requests as f64
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, requests, plans, seconds, .. } = self;
        write!(f, "{} fault(s), {} request(s), {plans} plans tried, {seconds:.1} s", faults.1, requests.1)
    }
}

fn faults(cut: &Cut) -> f64 {
    cut.faults.1 as f64
}

fn requests(cut: &Cut) -> f64 {
    cut.requests.1 as f64
}

fn plans(cut: &Cut) -> f64 {
    cut.plans as f64
}

fn seconds(cut: &Cut) -> f64 {
    cut.seconds
}

/// The value that half of them do not exceed; of an even count the upper of the two in the middle.
fn median<'a>(cuts: impl IntoIterator<Item = &'a Cut>, of: fn(&Cut) -> f64) -> f64 {
    let mut values: Vec<_> = cuts.into_iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median, and the most, with so many digits.
fn spread(cuts: &[Cut], of: fn(&Cut) -> f64, digits: usize) -> String {
    let most = cuts.iter().map(of).fold(0.0, f64::max);
    format!("{:.digits$} ({most:.digits$})", median(cuts, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(faults: usize, requests: usize) -> Cut {
        Cut {
            seed: 7,
            faults: (4, faults),
            requests: (40, requests),
            is_whole: true,
            plans: 9,
            seconds: 0.3,
            plan: String::new(),
            violation: String::new(),
        }
    }

    fn columns(line: &str) -> usize {
        line.matches('|').count()
    }

    #[test]
    fn every_line_of_the_table_has_the_columns_of_its_header() {
        let hunt = Hunt { scenario: "crash".to_owned(), seeds: 3, promise: None, cuts: vec![cut(1, 2)] };
        for shrinks in [true, false] {
            let header = header(shrinks);
            let wanted = columns(header.lines().next().unwrap());
            assert_eq!(columns(header.lines().last().unwrap()), wanted);
            assert_eq!(columns(&row("late", &hunt, shrinks)), wanted);
            assert_eq!(columns(&row_without("late", "crash", "DOES NOT APPLY", shrinks)), wanted);
        }
    }

    #[test]
    fn the_median_must_reach_the_targets_and_not_each_plan() {
        assert!(reaches_targets(&[cut(1, 2), cut(1, 13), cut(0, 1)], PlanSize::default()));
        assert!(!reaches_targets(&[cut(1, 13), cut(1, 13), cut(0, 1)], PlanSize::default()));
        assert!(reaches_targets(&[], PlanSize::default()));
        assert!(reaches_targets(&[cut(1, 13)], "1,13".parse().unwrap()));
    }

    #[test]
    fn what_a_slow_machine_does_not_shrink_to_the_end_is_told_and_fails_nothing() {
        let late = || Cut { is_whole: false, seconds: 30.1, ..cut(4, 40) };
        assert!(reaches_targets(&[late(), late(), cut(1, 2)], PlanSize::default()));
        assert!(reaches_targets(&[late()], PlanSize::default()));
        assert!(reaches_targets(&[Cut { seconds: 29.9, ..cut(1, 2) }], PlanSize::default()));
        let told = medians(&[late(), cut(1, 2)], PlanSize::default());
        let note = "note: 1 of them not shrunk to the end, for that takes more than 30 s here";
        assert!(told.ends_with(note), "{told}");
        assert!(!medians(&[cut(1, 2)], PlanSize::default()).contains("note"));
    }
}
