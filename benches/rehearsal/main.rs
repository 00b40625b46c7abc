//! How fast rehearsals are, beside the same calls under madsim-tonic.
//!
//! `cargo bench --bench rehearsal` plays the node of `tests/sim` – REST client, actix-web, gRPC, actor, all checks, the
//! trace hashed – and counts calls and seeds for each second of processor time, so that whatever else the machine does
//! counts for less. `--short` only shows that everything runs. Linux only: processor time is read from /proc.

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::Report;

#[path = "../../tests/sim/checks.rs"]
mod checks;
#[path = "../../tests/sim/scenarios.rs"]
mod scenarios;

#[path = "../edge/progress.rs"]
mod progress;
#[path = "../edge/samples.rs"]
mod samples;
#[path = "../edge/table.rs"]
mod table;

mod calls;
mod clock;
mod error;
mod options;
mod peer;
mod report;
mod seeds;

/// A rehearsal builds a world and drops it in milliseconds, on a thread of its own: with glibc's allocator a seventh of
/// its time goes there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("rehearsal: nothing measured outside of `cargo bench`");
        return ExitCode::SUCCESS;
    }
    measure(&options).unwrap_or_else(|error| {
        eprintln!("rehearsal: {error}");
        ExitCode::FAILURE
    })
}

fn measure(options: &Options) -> Result<ExitCode, Error> {
    let mut progress = Progress::new();
    let mut report = Report::new(options);
    progress.say("building the peer, which takes a while the first time");
    let peer = peer::build();
    if let Err(error) = &peer {
        report.without_peer(error);
    }
    for (in_flight, calls_min) in [(16, 12_000.0), (1, 7_000.0)] {
        report.calls(
            in_flight,
            calls_min,
            &calls::compete(in_flight, peer.as_ref().ok(), options, &mut progress)?,
        );
    }
    report.seeds(&seeds::measure(options, &mut progress)?);
    progress.clear();
    println!("{report}");
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
