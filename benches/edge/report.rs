//! The table at the end.

use std::fmt;

use crate::contest::{Outcome, Score};
use crate::field::Contest;
use crate::idle::Idle;
use crate::memory::Memories;
use crate::options::Options;
use crate::samples::{median, spread};
use crate::start::Start;
use crate::steady::Latency;
use crate::table::{Row, Table};

const START_MAX_MS: f64 = 100.0;
const IDLE_MAX_MIB: f64 = 20.0;
const REST_CONNECTION_MAX: f64 = 8.0 * 1024.0;
const GRPC_CONNECTION_MAX: f64 = 24.0 * 1024.0;

#[derive(Debug)]
pub(crate) struct Report(Table);

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let mut table = Table::new(!options.short, ["node", "by hand", "ratio (spread)"]);
        let (rounds, seconds, workers) = (options.rounds(), options.duration().as_secs(), options.workers());
        table.note(format!(
            "wrk -t1 -c100, {rounds} x {seconds} s for each side in turns, {workers} workers a process; medians."
        ));
        Self(table)
    }

    pub(crate) fn start(&mut self, start: &Start) {
        let first_ms = median(&start.first_answer_ms);
        let resident_mib = start.resident_kib as f64 / 1024.0;
        self.0.row(Row {
            title: "start to first answer".into(),
            ours: format!("{first_ms:.1} ms"),
            target: format!("< {START_MAX_MS:.0} ms"),
            passed: Some(first_ms < START_MAX_MS),
            ..Row::default()
        });
        self.0.row(Row {
            title: "resident memory, idle".into(),
            ours: format!("{resident_mib:.1} MiB"),
            target: format!("< {IDLE_MAX_MIB:.0} MiB"),
            passed: Some(resident_mib < IDLE_MAX_MIB),
            ..Row::default()
        });
    }

    pub(crate) fn idle(&mut self, idle: &Idle) {
        for (title, bytes, most) in [
            ("an idle connection, REST", idle.rest, REST_CONNECTION_MAX),
            ("an idle connection, gRPC", idle.grpc, GRPC_CONNECTION_MAX),
        ] {
            self.0.row(Row {
                title: title.into(),
                ours: format!("{bytes:.0} bytes"),
                target: format!("<= {most:.0}"),
                passed: Some(bytes <= most),
                ..Row::default()
            });
        }
    }

    /// What a call in memory takes beside actix's message. Less is better here: the target is the most.
    pub(crate) fn memory(&mut self, memories: &Memories) {
        let (call, message) = (median(&memories.call_ns), median(&memories.message_ns));
        let spread_of = |of: &[f64]| format!("{:.0} to {:.0}", of[0], of[of.len() - 1]);
        self.0.row(Row {
            title: "a call in memory, actix's send".into(),
            ours: format!("{call:.0} ns"),
            theirs: format!("{message:.0} ns"),
            ratio: format!("{:.2}", call / message),
            ..Row::default()
        });
        self.0.note(format!(
            "A call in memory: {} ns, a message by actix's send: {} ns.",
            spread_of(&memories.call_ns),
            spread_of(&memories.message_ns)
        ));
    }

    pub(crate) fn contest(&mut self, contest: &Contest, outcome: &Outcome) {
        self.0.row(Row {
            title: outcome.title.into(),
            ours: format!("{:.0}/s", outcome.node.requests_per_s),
            theirs: format!("{:.0}/s", outcome.peer.requests_per_s),
            ratio: spread(&outcome.ratios),
            target: format!(">= {:.2}", contest.ratio_min),
            passed: Some(median(&outcome.ratios) >= contest.ratio_min),
        });
        for (rate, [node, peer]) in &outcome.steady {
            self.0.row(Row {
                title: format!("  ms at {rate}/s: p50, p99, p99.9"),
                ours: in_ms(*node),
                theirs: in_ms(*peer),
                ..Row::default()
            });
        }
        self.0.note(format!(
            "{}: log lines a request: {}; {}. The node held {:.1} MiB afterwards.",
            outcome.title,
            log_lines(&outcome.node),
            log_lines(&outcome.peer),
            outcome.resident_kib as f64 / 1024.0,
        ));
    }

    /// Whether every target was reached; true where none was to be judged.
    pub(crate) fn passed(&self) -> bool {
        self.0.passed()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn log_lines(score: &Score) -> String {
    let counts: Vec<_> = score.log_lines_per_request.iter().map(|count| format!("{count:.2}")).collect();
    format!("{} {}", score.title, counts.join(" + "))
}

fn in_ms(latency: Latency) -> String {
    let [p50, p99, p999] = [latency.p50, latency.p99, latency.p999].map(|taken| taken.as_secs_f64() * 1e3);
    format!("{p50:.2} {p99:.2} {p999:.2}")
}
