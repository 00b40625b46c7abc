//! The command line of the benchmark.

use std::num::NonZeroUsize;
use std::thread;

use clap::Parser;

/// Counts rehearsed calls and seeds, beside the same calls under madsim-tonic.
#[derive(Debug, Parser)]
#[command(name = "rehearsal")]
pub(crate) struct Options {
    /// Rounds; in each, everything is measured once, in turns
    #[arg(long, env = "REHEARSAL_ROUNDS", default_value = "5")]
    rounds: NonZeroUsize,

    /// Calls of one measurement
    #[arg(long, env = "REHEARSAL_CALLS", default_value = "10000")]
    calls: NonZeroUsize,

    /// Seeds of one measurement
    #[arg(long, env = "REHEARSAL_SEEDS", default_value = "400")]
    seeds: NonZeroUsize,

    /// How many seeds to rehearse at once, beside one after the other [default: one for each core]
    #[arg(long, env = "REHEARSAL_JOBS")]
    jobs: Option<NonZeroUsize>,

    /// One round of little: shows that all runs, and judges nothing
    #[arg(long)]
    pub(crate) short: bool,

    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        if self.short { 1 } else { self.rounds.get() }
    }

    pub(crate) fn calls(&self) -> usize {
        if self.short { 200 } else { self.calls.get() }
    }

    pub(crate) fn seeds(&self) -> u64 {
        if self.short { 4 } else { self.seeds.get() as u64 }
    }

    pub(crate) fn jobs(&self) -> usize {
        self.jobs.map_or_else(cores, NonZeroUsize::get)
    }
}

/// How many cores this program may use.
#[expect(
    clippy::disallowed_methods,
    reason = "how many jobs there are is about this machine, not about what they do"
)]
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
