//! Short seeds, as `cargo sim --scenario storm` plays them: forty calls, faults, all checks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sim::{Keep, Scenario};

use crate::clock::timed;
use crate::error::Error;
use crate::options::Options;
use crate::progress::Progress;
use crate::samples::sorted;
use crate::scenarios;

const STORM: &str = "storm";

/// One of each for each round, in rising order.
#[derive(Debug)]
pub(crate) struct Seeds {
    pub(crate) jobs: usize,
    /// For each second of processor time, one after the other.
    pub(crate) per_s: Vec<f64>,
    /// How many times as many there are by the wall with all jobs as with one.
    pub(crate) speedups: Vec<f64>,
    /// The same by the processor, which says what sharing a machine costs each seed, if others use it too.
    pub(crate) speedups_by_processor: Vec<f64>,
}

pub(crate) fn measure(options: &Options, progress: &mut Progress) -> Result<Seeds, Error> {
    let mut all = scenarios::all().into_iter().map(Scenario::from);
    let storm = all.find(|scenario| scenario.name() == STORM);
    let storm = storm.ok_or(Error::NoScenario(STORM))?;
    let (jobs, seeds) = (options.jobs(), options.seeds());
    let (mut per_s, mut speedups, mut by_processor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds() {
        progress.say(&format!("seeds: round {round} of {}", options.rounds()));
        let ((), alone) = timed(|| rehearse(&storm, seeds, 1))?;
        let ((), together) = timed(|| rehearse(&storm, seeds, jobs))?;
        per_s.push(seeds as f64 / alone.processor_s.max(0.01));
        speedups.push(alone.wall_s / together.wall_s);
        by_processor.push(jobs as f64 * alone.processor_s / together.processor_s.max(0.01));
    }
    Ok(Seeds {
        jobs,
        per_s: sorted(per_s.into_iter()),
        speedups: sorted(speedups.into_iter()),
        speedups_by_processor: sorted(by_processor.into_iter()),
    })
}

/// Rehearses so many seeds, `jobs` at once; the first broken promise ends it.
fn rehearse(scenario: &Scenario, seeds: u64, jobs: usize) -> Result<(), Error> {
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(());
            }
            let played = sim::rehearse_seed(scenario, seed, None, Keep::Hash);
            if played.violation.is_some() {
                return Err(Error::Violated(played.to_string()));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a job reports its errors"))
    })
}
