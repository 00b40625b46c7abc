//! Clients that make calls again under idempotency keys, and what must hold of the entries that they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use node::App;
use probe_contract::tally::Enter;
use probe_contract::{Balance, Entry};
use rehearse::facts::NodeStarted;
use rehearse::proptest::prelude::*;
use rehearse::{
    CLIENTS, CallRecord, Code, Event, Expect, Family, Host, Invariant, Load, Ms as _, Request, Scenario,
    Swarm, Via, Wants, answer, matching, promises, request,
};

use crate::ledger::{self, TALLY};

/// A tally in one node, which two workers lead to.
pub(crate) fn keys() -> Scenario {
    Scenario::new("keys", "clients repeat what they enter under idempotency keys", load(), swarm())
        .node("tally", &["tally"], app)
        .flags(&["--max-calls", "12"])
        .promises(promises::of_calls())
        .invariant(EnteredOnce::default)
}

fn app(_: &Host) -> App {
    ledger::add_to(App::new(), Duration::from_secs(1))
}

/// Few keys and few amounts, so that most calls are made before, some of them as others.
fn load() -> Load {
    let entries = || (1..=2_i64).prop_map(|amount| Entry { key: "a".to_owned(), amount });
    let right = || Expect::ok().or(Code::FailedPrecondition);
    Load::new(40, 600.ms(), 100.ms()..=800.ms())
        .rpc::<Enter>(Via::Rest, entries(), right())
        .rpc::<Enter>(Via::Grpc, entries(), right())
        .metadata(metadata())
}

/// A key, quoted or not, or none.
fn metadata() -> impl Strategy<Value = Vec<(String, String)>> {
    let key = prop_oneof![2 => matching("[a-h]"), 1 => matching("\"[a-h]\""), 1 => matching("")];
    key.prop_map(|key| {
        let entry = ("idempotency-key".to_owned(), key);
        if entry.1.is_empty() { Vec::new() } else { vec![entry] }
    })
}

/// What makes a handler slow, or takes its caller away.
fn swarm() -> Swarm {
    Swarm::new(1..=3, 500.ms(), 50.ms()..=400.ms()).link(CLIENTS, "tally").host("tally").only(&[
        Family::Reset,
        Family::SlowLink,
        Family::Partition,
        Family::SlowHandler,
        Family::FullService,
        Family::Pause,
        Family::Kill,
        Family::Drain,
    ])
}

/// A key enters once for as long as the node lives, and everybody who uses it is told what that came to.
#[derive(Debug, Default)]
struct EnteredOnce {
    calls: BTreeMap<u32, (String, i64)>,
    /// What each key has entered on a host since that was started.
    entered: BTreeMap<(Arc<str>, String), u32>,
    /// All that each key was ever told to have entered.
    balances: BTreeSet<(String, i64, i64)>,
    met: u64,
}

fn key(request: &Request) -> Option<String> {
    let (_, key) = request.metadata.iter().find(|(name, _)| name == "idempotency-key")?;
    Some(key.trim_matches('"').to_owned())
}

impl Invariant for EnteredOnce {
    fn name(&self) -> &str {
        "what has an idempotency key is entered once"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<NodeStarted>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let entry = request::<Enter>(call).zip(key(&call.request));
        self.calls.extend(entry.map(|(entry, key)| (call.request.id, (key, entry.amount))));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.entered.retain(|(host, _), _| *host != event.host);
        }
        let number = |name| event.field(name).and_then(rehearse::Value::as_i64);
        let is_of_tally = event.field("key").is_some_and(|key| key.to_string().starts_with(TALLY));
        let (Some(before), Some(total), true) = (number("before"), number("total"), is_of_tally) else {
            return Ok(());
        };
        let Some((by, (key, _))) = event.request.and_then(|by| Some((by, self.calls.get(&by)?))) else {
            return Ok(());
        };
        self.met += 1;
        self.balances.insert((key.clone(), before, total));
        match self.entered.insert((Arc::clone(&event.host), key.clone()), by) {
            Some(first) => Err(format!("{event}: sim-{first:06} has entered it already under the key {key}")),
            None => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(Balance { before, total }) = answer::<Enter>(call) else {
            let is_other = call.reply.as_ref().is_some_and(|reply| reply.status == "FAILED_PRECONDITION");
            let has_key = self.calls.contains_key(&call.request.id);
            return if is_other && !has_key {
                Err(format!("{} has no key", call.request_id))
            } else {
                Ok(())
            };
        };
        let Some((key, amount)) = self.calls.get(&call.request.id) else { return Ok(()) };
        let is_right = total - before == *amount && self.balances.contains(&(key.clone(), before, total));
        if is_right {
            return Ok(());
        }
        Err(format!(
            "{}: it was to enter {amount} under the key {key}, and was told {before} and {total}; entered was {:?}",
            call.request_id, self.balances
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
