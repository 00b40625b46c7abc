//! Rehearsals of idempotency keys whose time is over: what they came to is forgotten then, and not before. Where no more of them
//! may be remembered, others are refused until then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use probe_contract::Entry;
use probe_contract::tally::Enter;
use rehearse::facts::GaugesRead;
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Code, Event, Expect, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via, Wants, drawn,
    matching, promises,
};
use transport::gauges::Gauge;

use crate::entered::EnteredOnce;
use crate::{idempotency, keys};

/// How long a node remembers what a key came to.
const KEPT_FOR: Duration = Duration::from_millis(400);

/// How many keys a node remembers at most where it is told so, and so many bytes that there is no room for one more.
const KEYS_MAX: usize = 2;
const BOUNDS: [&str; 3] =
    ["--max-idempotency-keys=100000", "--max-idempotency-keys=2", "--max-idempotency-bytes=600"];

/// The scenario of keys that are used again when they are forgotten.
pub(crate) fn forgotten() -> sim::Scenario {
    drawn("forgotten", "clients use idempotency keys again when these are forgotten", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let bound = picks.pick("bound", &BOUNDS);
    let keys_max = if bound == BOUNDS[0] { usize::MAX } else { KEYS_MAX };
    let right = || match keys_max {
        KEYS_MAX => Expect::ok().or(Code::ResourceExhausted),
        _ => Expect::ok(),
    };
    let entries = || Just(Entry { key: "a".to_owned(), amount: 1, ..Entry::default() });
    let load = Load::new(50, 4000.ms(), 400.ms()..=800.ms())
        .rpc::<Enter>(Via::Rest, entries(), right())
        .rpc::<Enter>(Via::Grpc, entries(), right())
        .metadata(idempotency::metadata(matching("[a-c]")));
    keys::in_one_node("tally", Scenario::new("", "", load, Swarm::calm()))
        .flags(&["--idempotency-keys-for", "400ms", bound])
        .promises(promises::of_calls())
        .invariant(|| EnteredOnce::new(false, KEPT_FOR))
        .invariant(move || NoMoreKeys { keys_max, ..NoMoreKeys::default() })
        .fold("how much is remembered is told", remembered)
        .eventually("all keys are forgotten, and nothing is kept of them", |left: &Left| {
            left.0 == Some((0, 0))
        })
}

/// How many keys, and how many bytes for them, are remembered when nothing is asked any more.
#[derive(Debug, Default)]
struct Left(Option<(usize, usize)>);

#[expect(clippy::unnecessary_wraps, reason = "the step of a fold")]
fn remembered(left: &mut Left, event: &Event) -> Result<(), String> {
    if let Some(GaugesRead(reading)) = event.told::<GaugesRead>() {
        left.0 = Some((reading.sum(Gauge::IdempotencyKeys), reading.sum(Gauge::IdempotencyBytes)));
    }
    Ok(())
}

/// No more keys are remembered than may be, and a call is refused for that only where there are as many.
#[derive(Debug, Default)]
struct NoMoreKeys {
    keys_max: usize,
    keys: BTreeMap<u32, String>,
    /// When each key has entered last.
    entered: BTreeMap<String, Duration>,
    met: u64,
}

/// Between a call and its entry, and between its entry and its answer.
const MOMENT: Duration = Duration::from_millis(100);

impl NoMoreKeys {
    /// The keys that have entered since.
    fn since(&self, since: Duration) -> BTreeSet<&str> {
        let entered = self.entered.iter().filter(|(_, entered)| **entered > since);
        entered.map(|(key, _)| key.as_str()).collect()
    }
}

impl Invariant for NoMoreKeys {
    fn name(&self) -> &str {
        "no more idempotency keys are remembered than may be"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.keys.extend(idempotency::key(&call.request).map(|key| (call.request.id, key)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let call = event.request.filter(|_| event.field("total").is_some());
        let Some(key) = call.and_then(|call| self.keys.get(&call)) else { return Ok(()) };
        self.entered.insert(key.clone(), event.at);
        self.met += 1;
        let remembered = self.since(event.at.saturating_sub(KEPT_FOR));
        if remembered.len() <= self.keys_max {
            return Ok(());
        }
        Err(format!(
            "the keys {remembered:?} have entered within {} ms, for which each is remembered; expected {} at most: {event}",
            KEPT_FOR.as_millis(),
            self.keys_max
        ))
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let key = self.keys.get(&call.request.id);
        let is_refused = call.reply.as_ref().is_some_and(|reply| reply.status == "RESOURCE_EXHAUSTED");
        let Some(key) = key.filter(|_| is_refused) else { return Ok(()) };
        let mut others = self.since(call.started.saturating_sub(KEPT_FOR + MOMENT));
        others.remove(key.as_str());
        if others.len() >= self.keys_max {
            return Ok(());
        }
        Err(format!(
            "{} was refused the key {key}, and of others only {others:?} were remembered; expected that there is room for {}",
            call.request_id, self.keys_max
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
