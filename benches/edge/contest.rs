//! Two sides driven in turns, and what the rounds say.

use crate::error::Error;
use crate::field::{Field, Side};
use crate::load::{self, Sample};
use crate::options::Options;
use crate::program::Program;
use crate::progress::Progress;
use crate::samples::{median, sorted};
use crate::steady::{self, Latency, RATES};

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) title: &'static str,
    pub(crate) node: Score,
    pub(crate) peer: Score,
    /// Node to peer, one for each round, in rising order.
    pub(crate) ratios: Vec<f64>,
    /// KiB of the node's first process, right after the last round.
    pub(crate) resident_kib: u64,
    /// What node and peer take for a request, at each of the fixed rates.
    pub(crate) steady: Vec<(u32, [Latency; 2])>,
}

/// What one side did over all rounds.
#[derive(Debug)]
pub(crate) struct Score {
    pub(crate) title: &'static str,
    pub(crate) requests_per_s: f64,
    /// Of each process of the side, the driven one first.
    pub(crate) log_lines_per_request: Vec<f64>,
}

/// Drives node and peer in turns. Both run throughout: the one that is not driven has nothing to do.
pub(crate) fn compete(field: Field, options: &Options, progress: &mut Progress) -> Result<Outcome, Error> {
    let Field { title, node, peer } = field;
    let (mut node, mut peer) = (Contestant::new(node), Contestant::new(peer));
    for round in 0..=options.rounds() {
        for side in [&mut node, &mut peer] {
            match round {
                0 => side.warm_up()?,
                _ => {
                    progress.say(&format!(
                        "{title}: round {round} of {}, {}",
                        options.rounds(),
                        side.side.title
                    ));
                    side.play(options)?;
                }
            }
        }
    }
    let mut steady = Vec::new();
    for rate in RATES {
        progress.say(&format!("{title}: at {rate}/s"));
        steady.push((rate, [node.steady(rate, options)?, peer.steady(rate, options)?]));
    }
    let ratio = |(node, peer): (&Sample, &Sample)| node.requests_per_s / peer.requests_per_s;
    let resident_kib = node.side.programs[0].resident_kib()?;
    Ok(Outcome {
        title,
        ratios: sorted(node.samples.iter().zip(&peer.samples).map(ratio)),
        node: node.score(),
        peer: peer.score(),
        resident_kib,
        steady,
    })
}

struct Contestant {
    side: Side,
    samples: Vec<Sample>,
    log_lines: Vec<u64>,
}

impl Contestant {
    fn new(side: Side) -> Self {
        let log_lines = vec![0; side.programs.len()];
        Self { side, samples: Vec::new(), log_lines }
    }

    /// A second that does not count: connections, caches and allocators find their places.
    fn warm_up(&mut self) -> Result<(), Error> {
        load::drive(&self.side.url(), std::time::Duration::from_secs(1))?;
        self.take_log_lines().map(drop)
    }

    fn play(&mut self, options: &Options) -> Result<(), Error> {
        self.samples.push(load::drive(&self.side.url(), options.duration())?);
        let lines = self.take_log_lines()?;
        self.log_lines.iter_mut().zip(lines).for_each(|(sum, lines)| *sum += lines);
        Ok(())
    }

    fn steady(&self, rate: u32, options: &Options) -> Result<Latency, Error> {
        let latency = steady::drive(self.side.address, self.side.path, rate, options.duration())?;
        self.take_log_lines().map(|_| latency)
    }

    /// Also waits until the side has written its log out, so that it does not do so in the other's time.
    fn take_log_lines(&self) -> Result<Vec<u64>, Error> {
        self.side.programs.iter().map(Program::take_log_lines).collect()
    }

    fn score(self) -> Score {
        let requests = self.samples.iter().map(|sample| sample.requests).sum::<u64>();
        Score {
            title: self.side.title,
            requests_per_s: median(&sorted(self.samples.iter().map(|sample| sample.requests_per_s))),
            log_lines_per_request: self
                .log_lines
                .iter()
                .map(|lines| *lines as f64 / requests as f64)
                .collect(),
        }
    }
}
