//! The table at the end.

use std::fmt;

use crate::contest::{Outcome, Score, median};
use crate::options::Options;
use crate::start::Start;

const START_MAX_MS: f64 = 100.0;
const IDLE_MAX_MIB: f64 = 20.0;

#[derive(Debug)]
pub(crate) struct Report {
    judged: bool,
    set_up: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Row {
    title: String,
    node: String,
    peer: String,
    ratio: String,
    target: String,
    passed: bool,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let (rounds, seconds, workers) = (options.rounds(), options.duration().as_secs(), options.workers());
        let set_up = format!(
            "wrk -t1 -c100, {rounds} x {seconds} s for each side in turns, {workers} workers a process"
        );
        Self { judged: !options.short, set_up, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn start(&mut self, start: &Start) {
        let first_ms = median(&start.first_answer_ms);
        let resident_mib = start.resident_kib as f64 / 1024.0;
        self.rows.push(Row {
            title: "start to first answer".into(),
            node: format!("{first_ms:.1} ms"),
            peer: String::new(),
            ratio: String::new(),
            target: format!("< {START_MAX_MS:.0} ms"),
            passed: first_ms < START_MAX_MS,
        });
        self.rows.push(Row {
            title: "resident memory, idle".into(),
            node: format!("{resident_mib:.1} MiB"),
            peer: String::new(),
            ratio: String::new(),
            target: format!("< {IDLE_MAX_MIB:.0} MiB"),
            passed: resident_mib < IDLE_MAX_MIB,
        });
    }

    pub(crate) fn contest(&mut self, ratio_min: f64, outcome: &Outcome) {
        let ratio = median(&outcome.ratios);
        let (least, most) = (outcome.ratios[0], outcome.ratios[outcome.ratios.len() - 1]);
        self.rows.push(Row {
            title: outcome.title.into(),
            node: format!("{:.0}/s", outcome.node.requests_per_s),
            peer: format!("{:.0}/s", outcome.peer.requests_per_s),
            ratio: format!("{ratio:.2} ({least:.2} to {most:.2})"),
            target: format!(">= {ratio_min:.2}"),
            passed: ratio >= ratio_min,
        });
        self.notes.push(format!(
            "{}: log lines a request: {}; {}. The node held {:.1} MiB afterwards.",
            outcome.title,
            log_lines(&outcome.node),
            log_lines(&outcome.peer),
            outcome.resident_kib as f64 / 1024.0,
        ));
    }

    /// Whether every target was reached; true where none was to be judged.
    pub(crate) fn passed(&self) -> bool {
        !self.judged || self.rows.iter().all(|row| row.passed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 6]| {
            let [title, node, peer, ratio, target, verdict] = cells;
            writeln!(f, "{title:<37} {node:>10} {peer:>10}   {ratio:<20} {target:<9} {verdict}")
        };
        line(f, ["", "node", "by hand", "ratio (spread)", "target", ""])?;
        for row in &self.rows {
            let verdict = match (self.judged, row.passed) {
                (false, _) => "not judged",
                (true, true) => "pass",
                (true, false) => "FAIL",
            };
            line(f, [&row.title, &row.node, &row.peer, &row.ratio, &row.target, verdict])?;
        }
        writeln!(f, "\n{}; medians.", self.set_up)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

fn log_lines(score: &Score) -> String {
    let counts: Vec<_> = score.log_lines_per_request.iter().map(|count| format!("{count:.2}")).collect();
    format!("{} {}", score.title, counts.join(" + "))
}
