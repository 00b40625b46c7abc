//! The command line of the tool.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::tool::TOOL;

/// Rehearse the services in a deterministic world, with faults drawn from seeds.
///
/// One seed is one world: its network, its workload, its faults, its clocks, its scheduling. The same seed does
/// the same thing each time. Without options, 100 seeds of every scenario are rehearsed.
#[derive(Debug, Clone, Parser)]
#[command(disable_version_flag = true)]
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
    /// Take only part I of N of the seeds, such as 2/8, so that many machines share the work; with --planted, of the bugs
    #[arg(long, value_name = "I/N", value_parser = parse_shard, help_heading = "Which seeds")]
    pub(super) shard: Option<Shard>,

    /// How many seeds to rehearse at once; with --planted, how many programs to build, four at most [default: one for each core]
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
    /// Build the program with each patch of tests/planted, or with this one, look for the bug, and print a table: how
    /// many seeds it takes to find it, and how small its failing plans get. With --failures 10: of the first ten of
    /// each. Fails if a patch no longer applies or builds, if a bug is not found, if the median plan that was
    /// shrunk to the end within 30 s keeps more than --plan-size says, if a shrunk plan fails without the bug, too, or if a
    /// plan of tests/graveyard passes with the bug that it names. With --seed or --plan: play that one with the bug, by
    /// default the one that the plan names
    #[arg(long, value_name = "NAME", num_args = 0..=1, help_heading = "How", conflicts_with = "time")]
    pub(super) planted: Option<Option<String>>,
    /// With --planted: how many faults and requests the median plan may keep
    #[arg(long, value_name = "FAULTS,REQUESTS", default_value_t, help_heading = "How")]
    pub(super) plan_size: PlanSize,

    /// A dress rehearsal: play on processes of the program that is to go on stage, in real time, with proxies between them
    /// that do what the plan's faults do to links, and signals that do the rest. What can only be done to a simulated host
    /// is left out, and named
    #[arg(long, help_heading = "How", conflicts_with_all = ["twice", "report", "json"])]
    pub(super) dress: bool,
    /// With --dress: how much longer everything takes than the plan says
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "How")]
    pub(super) stretch: u32,

    /// With --dress: play on this program in place of the one that the tests name
    #[arg(long, value_name = "FILE", help_heading = "How", requires = "dress")]
    pub(super) program: Option<PathBuf>,

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

    /// The patch that this program was built with
    #[arg(long, hide = true)]
    pub(super) as_planted: Option<String>,
    /// With --as-planted: the folder of the package that the patch was applied to a copy of
    #[arg(long, hide = true)]
    pub(super) for_package: Option<PathBuf>,
    /// With --as-planted: where failing plans are kept
    #[arg(long, hide = true)]
    pub(super) keep_in: Option<PathBuf>,
    /// With --as-planted: tell the program that started this one, in lines of JSON
    #[arg(long, hide = true)]
    pub(super) hunt: bool,
}

/// What follows the options in the help; `TOOL` stands for the command that starts the tool.
const EXAMPLES: &str = "\
Examples, after TOOL:
  --seeds 10000 --jobs 2                      many worlds
  --scenario storm --seed 7                   one world again
  --scenario storm --seed 7 --trace --request sim-000003
  --scenario storm --seed 7 --report storm.html
  --plan tests/graveyard/storm-7.toml
  --time 8h --shard 2/8 --json                one of eight machines
  --planted --failures 5                      how bugs are found, and how small plans get
  --planted --shard 1/2                       every second bug
  --planted late --scenario storm --seed 7    one world, with the patch late.patch
  --dress --scenario storm --seeds 5          on real processes

Built with `cargo test --release`, rehearsals are several times as fast. Paths are relative to where you stand.

Exit code: 0 all promises held, 1 one was broken, 2 or 64 the command line or a scenario's set-up is wrong.";

/// What the median of all plans may keep at most that were shrunk to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlanSize {
    pub(super) faults: usize,
    pub(super) requests: usize,
}

impl Default for PlanSize {
    /// What one reads at a glance.
    fn default() -> Self {
        Self { faults: 3, requests: 5 }
    }
}

impl FromStr for PlanSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |(faults, requests): (&str, &str)| {
            Some(Self { faults: faults.trim().parse().ok()?, requests: requests.trim().parse().ok()? })
        };
        text.split_once(',').and_then(read).ok_or("expected two numbers, as in 3,5")
    }
}

impl fmt::Display for PlanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.faults, self.requests)
    }
}

/// Part `index` (counted from one) of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) index: u64,
    pub(super) count: u64,
}

impl Shard {
    /// Whether the `nth` of all, from 0, is in this part.
    pub(super) fn has(self, nth: usize) -> bool {
        nth as u64 % self.count == self.index - 1
    }
}

impl Options {
    /// Reads the command line; explains itself and ends the program when it must. The user has started the program by
    /// `command`.
    pub(super) fn read(arguments: Vec<OsString>, command: &str) -> Self {
        let examples = EXAMPLES.replace("TOOL", command);
        let parser = Self::command().name(TOOL).bin_name(command).after_help(examples);
        let options = Self::from_arg_matches(&parser.get_matches_from(arguments));
        let options = options.unwrap_or_else(|error| error.exit());
        if let Err(error) = options.check() {
            clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, error).exit();
        }
        options
    }

    fn check(&self) -> Result<(), &'static str> {
        let shows_one = self.trace || self.report.is_some();
        if shows_one && !self.is_single() {
            return Err("--trace and --report show one rehearsal: give --scenario and --seed, or --plan\n");
        }
        if self.planted_name().is_some() && self.shard.is_some() {
            return Err("--shard takes a part of all planted bugs: --planted names one\n");
        }
        if self.planted.is_some() && self.dress && !self.is_single() {
            return Err("--planted prints a table of simulated worlds: --dress goes with --seed or --plan\n");
        }
        if self.planted.is_some() && self.json && !self.is_single() {
            return Err("--planted prints a table: --json goes with --seed or --plan\n");
        }
        Ok(())
    }

    /// The planted bug that is asked for by its name.
    pub(super) fn planted_name(&self) -> Option<&str> {
        self.planted.as_ref()?.as_deref()
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
    #[expect(
        clippy::disallowed_methods,
        reason = "how many jobs there are is about this machine, not about what they do"
    )]
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
    fn shards_share_all_planted_bugs_and_none_twice() {
        let parts =
            |nth| (1..=3).filter(|index| Shard { index: *index, count: 3 }.has(nth)).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3].map(parts), [[1], [2], [3], [1]]);
        assert!(options("rehearse --planted --shard 1/2").check().is_ok());
        assert!(options("rehearse --planted late --shard 1/2").check().is_err());
    }

    #[test]
    fn a_shard_beyond_the_last_is_refused() {
        assert!(parse_shard("3/2").is_err());
        assert!(parse_shard("0/2").is_err());
        assert!(parse_shard("2").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn planted_bugs_are_asked_for_by_name_or_all_at_once() {
        assert_eq!(options("rehearse --planted late --seeds 3").planted_name(), Some("late"));
        let all = options("rehearse --planted --seeds 3");
        assert_eq!((all.planted.is_some(), all.planted_name()), (true, None));
        assert!(options("rehearse").planted.is_none());
    }

    #[test]
    fn a_table_is_not_printed_as_json() {
        assert!(options("rehearse --planted --json").check().is_err());
        assert!(options("rehearse --planted late --seed 3 --json").check().is_ok());
    }
}
