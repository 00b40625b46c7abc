//! What the node costs beside the same services written by hand, on this machine, in this run.
//!
//! `cargo bench` drives both sides of each contest with `wrk`, in turns, and compares them round by round, since a
//! machine's speed drifts more between minutes than the two sides differ. `cargo bench --bench edge -- --short` only
//! shows that everything runs. Linux only: memory is read from /proc.
//!
//! The hand-written peers live in this program, too, with the node's allocator, profile and number of workers: it
//! starts itself again with the subcommand `peer`.

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use crate::options::{Command, Options};
use crate::progress::Progress;
use crate::report::Report;

mod contest;
mod error;
mod field;
mod idle;
mod load;
mod memory;
mod options;
mod peers;
mod program;
mod progress;
mod report;
mod samples;
mod start;
mod steady;
mod table;

/// That of the node, so that a peer loses nothing to its allocator.
#[global_allocator]
static ALLOCATOR: node::MiMalloc = node::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Command::Peer(role)) = &options.command {
        return told(peers::run(role).map(|()| ExitCode::SUCCESS));
    }
    if !options.bench {
        println!("edge: nothing measured outside of `cargo bench`");
        return ExitCode::SUCCESS;
    }
    told(measure(&options))
}

fn measure(options: &Options) -> Result<ExitCode, Error> {
    load::find_wrk()?;
    let mut progress = Progress::new();
    let mut report = Report::new(options);

    report.start(&start::measure(options, &mut progress)?);
    report.idle(&idle::measure(options, &mut progress)?);
    report.memory(&memory::measure(options, &mut progress));
    for contest in field::contests() {
        report.contest(&contest, &contest::compete(contest.field(options)?, options, &mut progress)?);
    }

    progress.clear();
    println!("{report}");
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(outcome: Result<ExitCode, Error>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("edge: {error}");
        ExitCode::FAILURE
    })
}
