//! What came of many dress rehearsals, by their scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::dress::Dressed;

/// For each scenario, how often processes kept what was promised.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    rows: BTreeMap<String, Row>,
    /// The scenarios that cannot be played on processes, and why.
    left_out: BTreeMap<String, String>,
    met: BTreeMap<String, u64>,
    not_judged: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Row {
    plans: u32,
    calls: usize,
    faults: usize,
    effective: usize,
    left_out: usize,
    violated: u32,
}

impl Agreement {
    /// A scenario cannot be played on processes.
    pub(super) fn leave_out(&mut self, scenario: &str, why: String) {
        self.left_out.insert(scenario.to_owned(), why);
    }

    /// Adds one play.
    pub(super) fn add(&mut self, dressed: &Dressed) {
        let summary = dressed.rehearsal.summary();
        let row = self.rows.entry(summary.scenario).or_default();
        row.plans += 1;
        row.calls += summary.calls;
        row.faults += summary.faults;
        row.effective += summary.faults_effective;
        row.left_out += dressed.left_out.len();
        row.violated += u32::from(dressed.rehearsal.violation.is_some());
        for (promise, met) in &dressed.rehearsal.met {
            *self.met.entry(promise.clone()).or_default() += met;
        }
        self.not_judged.extend(dressed.not_judged.iter().cloned());
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scenario          plans   calls  faults  effective  left out  violated")?;
        for (scenario, row) in &self.rows {
            let Row { plans, calls, faults, effective, left_out, violated } = row;
            writeln!(
                f,
                "{scenario:<16} {plans:>6} {calls:>7} {faults:>7} {effective:>10} {left_out:>9} {violated:>9}"
            )?;
        }
        for (scenario, why) in &self.left_out {
            writeln!(f, "{scenario:<16} not played on processes: {why}")?;
        }
        for (promise, met) in &self.met {
            writeln!(f, "judged {met:>7} times: {promise}")?;
        }
        for promise in &self.not_judged {
            writeln!(f, "not judged: {promise}")?;
        }
        Ok(())
    }
}
