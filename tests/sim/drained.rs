//! Rehearsals of a node that drains: what was begun under an idempotency key comes to its end, though nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rehearse::facts::{HandlerBegun, HandlerEnded, NodeStopped};
use rehearse::{CLIENTS, CallRecord, Event, Family, Invariant, Ms as _, Scenario, Swarm, Wants};

use crate::{idempotency, keys};

/// What happens in one moment may be told at two times, so far apart at most.
const MOMENT: Duration = Duration::from_millis(20);

/// The scenario of a node that drains while handlers are slow whose callers have left: it has time for what it has begun.
pub(crate) fn drained() -> Scenario {
    let swarm = Swarm::new(3..=6, 500.ms(), 400.ms()..=900.ms()).link(CLIENTS, "tally").host("tally");
    let swarm = swarm.only(&[Family::Reset, Family::SlowHandler, Family::Drain]);
    let about = "a node drains that handles calls with idempotency keys whose callers have left";
    keys::tally("drained-keys", about, swarm, keys::load(false, 1), (false, keys::FOREVER_MS.ms()))
        .invariant(EndsBeforeItLeaves::default)
}

/// What was begun under a key is done when its node leaves, whoever waits for it.
#[derive(Debug, Default)]
struct EndsBeforeItLeaves {
    keyed: BTreeSet<u32>,
    /// When the handler of each call is late, while it has entered nothing.
    begun: BTreeMap<u32, Duration>,
    /// Those that have ended so, and when.
    ended: Vec<(u32, Duration)>,
    met: u64,
}

impl Invariant for EndsBeforeItLeaves {
    fn name(&self) -> &str {
        "what was begun under an idempotency key is done when its node leaves"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<HandlerBegun>().fact::<HandlerEnded>().fact::<NodeStopped>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.keyed.extend(idempotency::key(&call.request).map(|_| call.request.id));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStopped>().is_some() {
            return self.leaves(event);
        }
        let Some(request) = event.request.filter(|request| self.keyed.contains(request)) else {
            return Ok(());
        };
        if let Some(begun) = event.told::<HandlerBegun>() {
            self.met += 1;
            self.begun.extend(begun.left.map(|left| (request, event.at + left)));
        } else if event.told::<HandlerEnded>().is_some() {
            let due = self.begun.remove(&request);
            self.ended.extend(due.filter(|due| event.at + MOMENT < *due).map(|_| (request, event.at)));
        } else if event.field("total").is_some() {
            self.begun.remove(&request);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl EndsBeforeItLeaves {
    /// A node that leaves cuts off what still runs.
    fn leaves(&mut self, event: &Event) -> Result<(), String> {
        let is_cut_off = |(_, ended): &&(u32, Duration)| event.at <= *ended + MOMENT;
        match self.ended.iter().find(is_cut_off) {
            Some((request, _)) => Err(format!(
                "{} has drained and leaves while the handler of sim-{request:06} runs, which has an idempotency key; \
                 expected that it waits for it",
                event.host
            )),
            None => Ok(()),
        }
    }
}
