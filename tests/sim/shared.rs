//! Rehearsals of idempotency keys that are used for one request after another: a key is of the first only.

use std::collections::BTreeMap;

use probe_contract::Entry;
use probe_contract::ledger::{Enter, EnterAfterwards};
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Code, Expect, Invariant, Load, Ms as _, Scenario, Swarm, Via, Wants, matching, promises,
};

use crate::{idempotency, keys};

/// The scenario of clients that use a key for another request.
pub(crate) fn shared() -> Scenario {
    let entries = || (1..=2_i64).prop_map(|amount| Entry { key: "a".to_owned(), amount, ..Entry::default() });
    let right = || Expect::ok().or(Code::FailedPrecondition);
    let load = Load::new(40, 500.ms(), 400.ms()..=800.ms())
        .rpc::<Enter>(Via::Rest, entries(), right())
        .rpc::<Enter>(Via::Grpc, entries(), right())
        .rpc::<EnterAfterwards>(Via::Rest, entries(), right())
        .rpc::<EnterAfterwards>(Via::Grpc, entries(), right())
        .metadata(idempotency::metadata(matching("[a-h]")));
    let about = "clients use an idempotency key for another request, or another method";
    keys::in_one_node("ledger", Scenario::new("shared", about, load, Swarm::calm()))
        .promises(promises::of_calls())
        .invariant(OfOneRequest::default)
}

/// Of the calls that have a key, those that are one request have its answer, and all others are refused.
#[derive(Debug, Default)]
struct OfOneRequest {
    /// The first call that was answered, and the first that was refused for each request, by key.
    answered: BTreeMap<String, CallRecord>,
    refused: BTreeMap<(String, String, String), String>,
    met: u64,
}

impl Invariant for OfOneRequest {
    fn name(&self) -> &str {
        "an idempotency key is of one request"
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some((key, reply)) = idempotency::key(&call.request).zip(call.reply.as_ref()) else {
            return Ok(());
        };
        let request = |call: &CallRecord| (call.request.kind.clone(), call.request.argument.clone());
        let (kind, argument) = request(call);
        let place = (key.clone(), kind.clone(), argument.clone());
        if !reply.is_ok() {
            let is_of_its_own =
                self.answered.get(&key).is_some_and(|first| request(first) == (kind, argument));
            self.refused.entry(place).or_insert_with(|| call.request_id.clone());
            return match is_of_its_own {
                true => Err(format!(
                    "{} was refused, though the key {key} is of the same request; expected the answer to that",
                    call.request_id
                )),
                false => Ok(()),
            };
        }
        if let Some(refused) = self.refused.get(&place) {
            return Err(format!(
                "{refused} was refused, though the key {key} is of the same request, as {} was told; expected the answer to that",
                call.request_id
            ));
        }
        let first = self.answered.entry(key.clone()).or_insert_with(|| call.clone());
        self.met += 1;
        if request(first) == (kind, argument) {
            return Ok(());
        }
        Err(format!(
            "{} {} {} was answered under the key {key}, and {} {} {} had been; expected that it is refused, since a key is of one request",
            call.request_id,
            call.request.kind,
            call.request.argument,
            first.request_id,
            first.request.kind,
            first.request.argument
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
