//! The table at the end.

use std::fmt;

use crate::calls::Calls;
use crate::error::Error;
use crate::options::{Options, cores};
use crate::samples::{median, spread};
use crate::seeds::Seeds;
use crate::table::{Row, Table};

const SEEDS_MIN: f64 = 400.0;
const HASHING_MAX: f64 = 0.05;
/// Of what as many cores could do at best.
const LINEAR_MIN: f64 = 0.9;

#[derive(Debug)]
pub(crate) struct Report(Table);

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let mut table = Table::new(!options.short, ["rehearsal", "madsim-tonic", "ratio (spread)"]);
        table.note(format!(
            "{} x {} calls, {} x {} seeds, in turns; medians. A second is one of processor time on one core of {}, but \
             for jobs, where it is one of the wall.",
            options.rounds(),
            options.calls(),
            options.rounds(),
            options.seeds(),
            cores(),
        ));
        table.note(
            "A call here: REST client, actix-web, gRPC over HTTP/2, actor; every byte, check and hash. A call there: \
             two gRPC hops without HTTP, encoding, actors, checks or logs."
                .to_owned(),
        );
        Self(table)
    }

    pub(crate) fn without_peer(&mut self, error: &Error) {
        self.0.note(format!("No peer to compare with: {error}"));
    }

    pub(crate) fn calls(&mut self, in_flight: usize, calls_min: f64, calls: &Calls) {
        let peer = !calls.peers_per_s.is_empty();
        let ours = median(&calls.ours_per_s);
        self.0.row(Row {
            title: format!("calls of two hops, {in_flight} in flight"),
            ours: format!("{ours:.0}/s"),
            theirs: if peer {
                format!("{:.0}/s", median(&calls.peers_per_s))
            } else {
                "not built".to_owned()
            },
            ratio: if peer { spread(&calls.ratios) } else { String::new() },
            target: format!(">= {calls_min:.0}/s"),
            passed: Some(ours >= calls_min),
        });
        let share = median(&calls.hashing);
        self.0.row(Row {
            title: format!("  of which hashing the trace, {in_flight}"),
            ours: format!("{:.1} %", share * 100.0),
            ratio: spread(&calls.hashing),
            target: format!("< {:.0} %", HASHING_MAX * 100.0),
            passed: Some(share < HASHING_MAX),
            ..Row::default()
        });
    }

    pub(crate) fn seeds(&mut self, seeds: &Seeds) {
        let per_s = median(&seeds.per_s);
        self.0.row(Row {
            title: "storm: seeds of forty calls, one core".into(),
            ours: format!("{per_s:.0}/s"),
            target: format!(">= {SEEDS_MIN:.0}/s"),
            passed: Some(per_s >= SEEDS_MIN),
            ..Row::default()
        });
        let (jobs, speedup) = (seeds.jobs, median(&seeds.speedups));
        let wanted = LINEAR_MIN * jobs as f64;
        self.0.row(Row {
            title: format!("storm: {jobs} jobs beside one"),
            ours: format!("x {speedup:.2}"),
            ratio: spread(&seeds.speedups),
            target: format!(">= {wanted:.2}"),
            // More jobs than cores, or one of each, say nothing.
            passed: (2..=cores()).contains(&jobs).then_some(speedup >= wanted),
            ..Row::default()
        });
        self.0.note(format!(
            "{jobs} jobs beside one, by processor time: x {}. The wall counts what else the machine does as well.",
            spread(&seeds.speedups_by_processor)
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
