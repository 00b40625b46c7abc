//! The command line of `cargo sim`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Rehearse the services in a deterministic world, with faults drawn from seeds.
///
/// One seed is one world: its network, its workload, its faults, its clocks, its scheduling. The same seed does
/// the same thing each time. Without options, 100 seeds of every scenario are rehearsed.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim", after_help = EXAMPLES, disable_version_flag = true)]
pub(super) struct Options {
    /// List the scenarios and the planted bugs each is meant to find
    #[arg(long)]
    pub(super) list: bool,
    /// Rehearse this scenario only; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(super) scenario: Vec<String>,

    /// How many seeds of each scenario to rehearse [default: 100, or no limit with --time]
    #[arg(long, value_name = "N", help_heading = "Which seeds")]
    pub(super) seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Which seeds")]
    pub(super) from: u64,
    /// Rehearse this one seed, and shrink it if it fails
    #[arg(long, value_name = "N", help_heading = "Which seeds", conflicts_with_all = ["seeds", "time", "shard"])]
    pub(super) seed: Option<u64>,
    /// Rehearse the plan in this file
    #[arg(long, value_name = "FILE", help_heading = "Which seeds", conflicts_with_all = ["seeds", "seed", "time", "shard"])]
    pub(super) plan: Option<PathBuf>,
    /// Stop after this time, such as 60s or 8h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Which seeds")]
    pub(super) time: Option<Duration>,
    /// Take only part I of N of the seeds, such as 2/8, so that many machines share the work
    #[arg(long, value_name = "I/N", value_parser = parse_shard, help_heading = "Which seeds")]
    pub(super) shard: Option<Shard>,

    /// How many seeds to rehearse at once [default: one for each core]
    #[arg(long, value_name = "N", help_heading = "How")]
    pub(super) jobs: Option<usize>,
    /// Go on after a broken promise
    #[arg(long, help_heading = "How")]
    pub(super) keep_going: bool,
    /// Go on until so many seeds have broken a promise [default: 1]
    #[arg(long, value_name = "N", help_heading = "How", conflicts_with_all = ["keep_going", "seed", "plan"])]
    pub(super) failures: Option<u64>,
    /// Rehearse each seed twice, and compare the traces
    #[arg(long, help_heading = "How")]
    pub(super) twice: bool,
    /// Do not shrink failing plans
    #[arg(long, help_heading = "How")]
    pub(super) no_shrink: bool,
    /// Switch this planted bug on
    #[arg(long, value_name = "NAME", help_heading = "How")]
    pub(super) mutant: Option<String>,
    /// Switch on each planted bug in turn, and print a table: how many seeds it takes to find it, and how small
    /// its failing plans get. With --failures 10: of the first ten of each. Fails if a bug is not found, if the
    /// median plan keeps more than 3 faults or 5 requests or takes more than 30 s to shrink, or if a shrunk plan fails
    /// without the bug, too
    #[arg(long, help_heading = "How", conflicts_with_all = ["mutant", "seed", "plan", "time", "json"])]
    pub(super) mutants: bool,

    /// Print one line of JSON for each rehearsal, and nothing else
    #[arg(long, help_heading = "What to show")]
    pub(super) json: bool,
    /// With --seed or --plan: print all that happens, one event a line
    #[arg(long, help_heading = "What to show")]
    pub(super) trace: bool,
    /// With --trace: only what belongs to this request
    #[arg(long, value_name = "ID", help_heading = "What to show", requires = "trace")]
    pub(super) request: Option<String>,
    /// With --seed or --plan: write a page that shows all that happens
    #[arg(long, value_name = "FILE.html", help_heading = "What to show")]
    pub(super) report: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cargo sim --seeds 10000 --jobs 2            many worlds
  cargo sim --scenario storm --seed 7         one world again
  cargo sim --scenario storm --seed 7 --trace --request sim-000003
  cargo sim --scenario storm --seed 7 --report storm.html
  cargo sim --plan tests/graveyard/storm-7.toml
  cargo sim --time 8h --shard 2/8 --json      one of eight machines
  cargo test --test sim -- rehearse --mutants --failures 5    how bugs are found, and how small plans get

Exit code: 0 all promises held, 1 one was broken, 2 or 64 the command line is wrong.";

/// Part `index` (counted from one) of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) index: u64,
    pub(super) count: u64,
}

impl Options {
    /// Reads the command line; explains itself and ends the program when it must.
    pub(super) fn read(arguments: Vec<OsString>) -> Self {
        let options = Self::parse_from(arguments);
        let shows_one = options.trace || options.report.is_some();
        if shows_one && !options.is_single() {
            let error = clap::Error::raw(
                clap::error::ErrorKind::MissingRequiredArgument,
                "--trace and --report show one rehearsal: give --scenario and --seed, or --plan\n",
            );
            error.exit();
        }
        options
    }

    /// Whether one rehearsal is asked for.
    pub(super) fn is_single(&self) -> bool {
        self.seed.is_some() || self.plan.is_some()
    }

    /// How many seeds of each scenario, if that is limited.
    pub(super) fn seed_count(&self) -> Option<u64> {
        const SEEDS: u64 = 100;
        match (self.seeds, self.time) {
            (None, Some(_)) => None,
            (seeds, _) => Some(seeds.unwrap_or(SEEDS)),
        }
    }

    /// How many seeds may break a promise until it is enough.
    pub(super) fn failures_max(&self) -> u64 {
        if self.keep_going { u64::MAX } else { self.failures.unwrap_or(1) }
    }

    /// How many threads rehearse.
    pub(super) fn job_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or_else(cores).max(1)
    }

    /// The n-th seed of this shard.
    pub(super) fn seed_at(&self, n: u64) -> u64 {
        let shard = self.shard.unwrap_or(Shard { index: 1, count: 1 });
        self.from + n * shard.count + shard.index - 1
    }

    /// How many seeds this shard takes of each scenario.
    pub(super) fn share(&self) -> u64 {
        let shard = self.shard.unwrap_or(Shard { index: 1, count: 1 });
        let all = self.seed_count().unwrap_or(u64::MAX);
        all / shard.count + u64::from(shard.index <= all % shard.count)
    }
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let parts =
        text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
    match parts {
        Some((index, count)) if (1..=count).contains(&index) => Ok(Shard { index, count }),
        _ => Err("expected I/N with I from 1 to N, such as 2/8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        Options::parse_from(line.split(' '))
    }

    #[test]
    fn shards_share_all_seeds_and_none_twice() {
        let seeds = |line: &str| {
            let options = options(line);
            (0..options.share()).map(|n| options.seed_at(n)).collect::<Vec<_>>()
        };
        let mut all = Vec::new();
        for index in 1..=3 {
            all.extend(seeds(&format!("sim --seeds 10 --from 5 --shard {index}/3")));
        }
        all.sort_unstable();
        assert_eq!(all, (5..15).collect::<Vec<_>>());
    }

    #[test]
    fn a_shard_beyond_the_last_is_refused() {
        assert!(parse_shard("3/2").is_err());
        assert!(parse_shard("0/2").is_err());
        assert!(parse_shard("2").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
