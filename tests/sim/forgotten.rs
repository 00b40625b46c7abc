//! Rehearsals of idempotency keys whose time is over: what they came to is forgotten then, and not before.

use std::time::Duration;

use probe_contract::Entry;
use probe_contract::tally::Enter;
use rehearse::proptest::prelude::*;
use rehearse::{Expect, Load, Ms as _, Scenario, Swarm, Via, matching, promises};

use crate::keys::{self, EnteredOnce};

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
        .invariant(|| EnteredOnce::new(false, KEPT_FOR))
}
