//! The command line of the benchmark, and that of the peers it starts.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Compares the node with the same services written by hand.
#[derive(Debug, Parser)]
#[command(name = "edge")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Rounds of each contest; each round drives one side, then the other
    #[arg(long, env = "EDGE_ROUNDS", default_value = "5")]
    rounds: NonZeroUsize,

    /// Seconds that one side is driven in one round
    #[arg(long, env = "EDGE_SECONDS", default_value = "5")]
    seconds: NonZeroUsize,

    /// One round of one second: shows that all runs, and judges nothing
    #[arg(long)]
    pub(crate) short: bool,

    /// Worker threads of every process on either side [default: cores]
    #[arg(long, env = "EDGE_WORKERS")]
    workers: Option<NonZeroUsize>,

    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        if self.short { 1 } else { self.rounds.get() }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(if self.short { 1 } else { self.seconds.get() as u64 })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how many jobs there are is about this machine, not about what they do"
    )]
    pub(crate) fn workers(&self) -> usize {
        self.workers.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Be one of the hand-written services
    #[command(hide = true, subcommand)]
    Peer(Role),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// REST in front of service1
    AxumFront {
        #[command(flatten)]
        listener: Listener,
        /// Where service1 is; among several tonic's `balance_list` chooses
        #[arg(long, required = true)]
        service1: Vec<String>,
    },
    /// service1 over gRPC
    TonicService1(#[command(flatten)] Listener),
    /// service1's work inside a REST handler
    ActixWeb(#[command(flatten)] Listener),
}

#[derive(Debug, Args)]
pub(crate) struct Listener {
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    #[arg(long)]
    pub(crate) workers: usize,
    /// Where it writes a line for each request; it writes none if this is not given
    #[arg(long)]
    pub(crate) log: Option<PathBuf>,
}
