//! Calls of two hops in a calm world, so many at once: what a second of one core is good for.

use std::time::Duration;

use rehearse::{Load, Swarm, Via};
use sim::{Keep, Plan, Scenario};

use crate::clock::timed;
use crate::error::Error;
use crate::options::Options;
use crate::peer::Peer;
use crate::progress::Progress;
use crate::samples::sorted;
use crate::{checks, scenarios};

/// Calls for each second of processor time; one of each for each round, in rising order.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) ours_per_s: Vec<f64>,
    /// Nothing where the peer could not be built.
    pub(crate) peers_per_s: Vec<f64>,
    /// Ours to the peer's.
    pub(crate) ratios: Vec<f64>,
    /// The share of time that goes when the trace is not hashed.
    pub(crate) hashing: Vec<f64>,
}

/// Plays the same calls here, here without the trace, and under the peer, in turns.
pub(crate) fn compete(
    in_flight: usize,
    peer: Option<&Peer>,
    options: &Options,
    progress: &mut Progress,
) -> Result<Calls, Error> {
    let calls = options.calls();
    let scenario = scenario(in_flight, calls);
    let plan = sim::draw_plan(&scenario, 1, None);
    play(&scenario, &sim::draw_plan(&self::scenario(in_flight, 100), 1, None), Keep::Hash)?; // warms up
    let (mut ours, mut bare, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds() {
        progress.say(&format!("{in_flight} in flight: round {round} of {}", options.rounds()));
        ours.push(play(&scenario, &plan, Keep::Hash)?);
        bare.push(play(&scenario, &plan, Keep::Nothing)?);
        if let Some(peer) = peer {
            peers.push(calls as f64 / peer.play(calls, in_flight)?);
        }
    }
    Ok(Calls {
        ratios: sorted(ours.iter().zip(&peers).map(|(ours, peers)| ours / peers)),
        hashing: sorted(ours.iter().zip(&bare).map(|(ours, bare)| 1.0 - ours / bare)),
        ours_per_s: sorted(ours.into_iter()),
        peers_per_s: sorted(peers.into_iter()),
    })
}

/// The calm world of the rehearsals, but that a client makes its next call when one has ended.
fn scenario(in_flight: usize, calls: usize) -> Scenario {
    const ENOUGH: Duration = Duration::from_millis(400);
    let load = Load::new(calls, Duration::ZERO, ENOUGH..=ENOUGH).in_flight_max(in_flight);
    let load = scenarios::hello(load, Via::Rest);
    scenarios::two_nodes("calls", "nothing goes wrong", load, Swarm::calm(), 2 * in_flight)
        .every_call("in calm, every call works", checks::works)
        .into()
}

/// Calls for each second of processor time.
fn play(scenario: &Scenario, plan: &Plan, keep: Keep) -> Result<f64, Error> {
    let (played, took) = timed(|| Ok(sim::rehearse(scenario, plan, keep)))?;
    match &played.violation {
        Some(violation) => Err(Error::Violated(violation.to_string())),
        None => Ok(played.calls.len() as f64 / took.processor_s.max(0.01)),
    }
}
