//! Rehearsals of actors that live by key, whose calls leave work behind that lasts: such an actor is not idle.

use std::time::Duration;

use node::App;
use probe_contract::Entry;
use probe_contract::ledger::{Enter, EnterAfterwards, Look};
use rehearse::proptest::prelude::*;
use rehearse::{
    Code, Expect, Family, Host, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn, matching, promises,
};

use crate::afterwards::AFTERWARDS;
use crate::state::{self, Afterwards, Totals};
use crate::{ledger, worlds};

/// How long an actor stays that nobody asks: less than work takes.
const IDLE: Duration = Duration::from_millis(20);

/// How long a call, or its work, may be with an actor.
const TAKES: Duration = Duration::from_millis(500);

/// The scenario of actors that go when they are idle, and have work to do.
pub(crate) fn lasting() -> sim::Scenario {
    drawn("lasting", "calls to actors that live by key leave work behind that lasts", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let (workers, calls_max) = (picks.pick("workers", &[2, 1]), 1024);
    let swarm = match picks.pick("drains", &[false, true]) {
        true => Swarm::new(1..=2, 900.ms(), 300.ms()..=600.ms()).host("books").only(&[Family::Drain]),
        false => Swarm::calm(),
    };
    // Some of it would last for longer than its limit.
    let lasts_ms = picks.pick("work lasts ms", &[120, 3000]);
    let takes = if lasts_ms > 120 { TAKES + AFTERWARDS } else { TAKES };
    let load = Load::new(50, 1000.ms(), 300.ms()..=600.ms()).bursts(picks.pick("bursts", &[1, 4]));
    Scenario::new("lasting", "", entries(load, lasts_ms), swarm)
        .stand_in(worlds::STAND_IN, &["--ledger-idle", "20ms"])
        .node("books", &["ledger"], |_: &Host| ledger::add_to(App::new(), IDLE))
        .workers(workers)
        .flags(&["--max-calls", &calls_max.to_string()])
        .promises(promises::of_calls())
        .fold("a key's total is in one place", move |totals: &mut Totals, event| {
            state::one_total_for_each_key(totals, event, IDLE, takes)
        })
        .fold("what calls leave behind is cut off at its limit", state::cut_off_at_its_limit)
        .fold("what calls leave behind is not cut off", move |work: &mut Afterwards, event| {
            state::done_afterwards(work, event, 5000.ms(), calls_max * usize::from(workers))
        })
        .eventually("what calls leave behind is done", state::nothing_is_left)
}

/// Of as many keys as may have actors.
fn entries(load: Load, lasts_ms: u32) -> Load {
    let entries = move || {
        let entry = (matching("[a-c]"), 1..9_i64, prop::sample::select(vec![10_u32, 60, lasts_ms]));
        entry.prop_map(|(key, amount, later_ms)| Entry { key, amount, later_ms, ..Entry::default() })
    };
    let looks = matching("[a-c]").prop_map(|key| Entry { key, ..Entry::default() });
    let right = || Expect::ok().or(Code::ResourceExhausted);
    load.rpc::<Enter>(Via::Rest, entries(), right())
        .rpc::<EnterAfterwards>(Via::Rest, entries(), right())
        .rpc::<EnterAfterwards>(Via::Grpc, entries(), right())
        .rpc::<Look>(Via::Grpc, looks, right())
}
