//! Rehearsals of idempotency keys whose time is over: what they came to is forgotten then, and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use probe_contract::Entry;
use probe_contract::tally::Enter;
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Event, Expect, Invariant, Load, Ms as _, Scenario, Swarm, Via, Wants, matching, promises,
};

use crate::keys;

/// How long a node remembers what a key came to.
const KEPT_FOR: Duration = Duration::from_millis(400);

/// The scenario of keys that are used again when they are forgotten.
pub(crate) fn forgotten() -> Scenario {
    let entries = || Just(Entry { key: "a".to_owned(), amount: 1, ..Entry::default() });
    let load = Load::new(50, 4000.ms(), 400.ms()..=800.ms())
        .rpc::<Enter>(Via::Rest, entries(), Expect::ok())
        .rpc::<Enter>(Via::Grpc, entries(), Expect::ok())
        .metadata(keys::metadata(matching("[a-c]")));
    let about = "clients use idempotency keys again when these are forgotten";
    keys::in_one_node("tally", Scenario::new("forgotten", about, load, Swarm::calm()))
        .flags(&["--idempotency-keys-for", "400ms"])
        .promises(promises::of_calls())
        .invariant(ForgottenInTime::default)
}

/// A key enters again when its time is over, and not before.
#[derive(Debug, Default)]
struct ForgottenInTime {
    keys: BTreeMap<u32, String>,
    /// When each key has entered last.
    entered: BTreeMap<String, Duration>,
    /// The calls that have entered something themselves.
    handled: BTreeSet<u32>,
    met: u64,
}

impl Invariant for ForgottenInTime {
    fn name(&self) -> &str {
        "what an idempotency key came to is forgotten when its time is over"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.keys.extend(keys::key(&call.request).map(|key| (call.request.id, key)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let call = event.request.filter(|_| event.field("total").is_some());
        let Some((call, key)) = call.and_then(|call| self.keys.get_key_value(&call)) else { return Ok(()) };
        self.handled.insert(*call);
        let before = self.entered.insert(key.clone(), event.at);
        match before.filter(|before| event.at < *before + KEPT_FOR) {
            Some(before) => Err(format!(
                "the key {key} enters again {} ms after it did; expected that it is remembered for {} ms: {event}",
                (event.at - before).as_millis(),
                KEPT_FOR.as_millis()
            )),
            None => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let has_worked = call.reply.as_ref().is_some_and(rehearse::Reply::is_ok);
        let key = self
            .keys
            .get(&call.request.id)
            .filter(|_| has_worked && !self.handled.contains(&call.request.id));
        let Some((key, entered)) = key.and_then(|key| Some((key, self.entered.get(key)?))) else {
            return Ok(());
        };
        self.met += 1;
        match call.started.checked_sub(*entered + KEPT_FOR) {
            Some(late) => Err(format!(
                "{} has the answer that an earlier call had under the key {key}, though it was made {} ms after that was to be \
                 forgotten; expected that it is handled",
                call.request_id,
                late.as_millis()
            )),
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
