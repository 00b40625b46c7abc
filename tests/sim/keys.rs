//! Clients that make calls again under idempotency keys.

use std::time::Duration;

use node::App;
use probe_contract::tally::Enter;
use probe_contract::{Entry, Script, middle};
use rehearse::proptest::prelude::*;
use rehearse::{
    CLIENTS, CallRecord, Code, Expect, Family, Host, Load, Ms as _, Scenario, Swarm, Via, drawn, matching,
    promises,
};

use crate::entered::EnteredOnce;
use crate::{idempotency, ledger, worlds};

/// A tally in one node, which two workers lead to, and which remembers keys in memory or in a store.
pub(crate) fn keys() -> sim::Scenario {
    drawn("keys", "clients repeat what they enter under idempotency keys", |picks| {
        let store = picks.pick("--idempotency-store", &["none", "keys"]);
        let is_stored = store != "none";
        let sync = picks.pick("a sync takes ms", &[20, 0, 60]).ms();
        let kept_for_ms: u64 =
            if is_stored { FOREVER_MS } else { picks.pick("keys are kept for ms", &[FOREVER_MS, 200]) };
        // It is one of them in any case.
        let rest_headers = picks.pick("--rest-headers", &["x-trial", "idempotency-key"]);
        tally("", "", swarm(is_stored), load(is_stored, 1), (is_stored, kept_for_ms.ms()))
            .flags(&["--rest-headers", rest_headers])
            .flags(&["--idempotency-store", store, "--idempotency-keys-for", &format!("{kept_for_ms}ms")])
            .sync_takes(sync)
    })
}

/// The same, where keys are stored, and forgotten in the end: how long they are is counted by the clock of the machine, which is
/// right here. Or what is entered is so large that the log of the store is written anew, also while calls run.
pub(crate) fn stored() -> sim::Scenario {
    drawn("stored", "idempotency keys are stored for a while, or are more than a log keeps", |picks| {
        let kept_for_ms: u64 = picks.pick("keys are stored for ms", &[300, FOREVER_MS]);
        let bytes = picks.pick("bytes of an entry", &[1, 250_000]);
        // Those of a node that dies again and again are to be forgotten between.
        let (swarm, load) = match kept_for_ms {
            FOREVER_MS => (swarm(true), load(true, bytes)),
            _ => {
                let swarm = Swarm::new(4..=7, 1600.ms(), 50.ms()..=150.ms()).host("tally");
                let swarm = swarm.only(&[Family::SlowHandler, Family::Kill, Family::PowerLoss]);
                (swarm, entries(Load::new(90, 1800.ms(), 100.ms()..=800.ms()), "[a-h]", bytes))
            }
        };
        let sync = picks.pick("a sync takes ms", &[20, 0, 60]).ms();
        let kept_for = format!("{kept_for_ms}ms");
        tally("", "", swarm, load, (true, kept_for_ms.ms()))
            .flags(&["--idempotency-store", "keys", "--idempotency-keys-for", &kept_for])
            .sync_takes(sync)
    })
}

/// The same, where the disk of the store fails, before the node is killed or loses its power. Calls go on when all that is over,
/// under keys that are known by then.
pub(crate) fn disks() -> sim::Scenario {
    drawn("disks", "idempotency keys are stored on a disk that fails", |picks| {
        let sync = picks.pick("a sync takes ms", &[20, 0, 60]).ms();
        let swarm = Swarm::new(2..=5, 700.ms(), 50.ms()..=150.ms()).host("tally");
        let swarm = swarm.only(&[Family::FailingDisk, Family::Kill, Family::PowerLoss]);
        tally(
            "",
            "",
            swarm,
            entries(Load::new(100, 1400.ms(), 300.ms()..=800.ms()).bursts(25), "[a-h]", 1),
            (true, FOREVER_MS.ms()),
        )
        .flags(&["--idempotency-store", "keys", "--idempotency-keys-for", &format!("{FOREVER_MS}ms")])
        .sync_takes(sync)
    })
}

/// The scenario of calls that fail when what they ask for is done: to make them again does not do it again.
pub(crate) fn undone() -> Scenario {
    let entries = || Just(Entry { key: "a".to_owned(), amount: ledger::UNDONE, ..Entry::default() });
    let right = || Expect::ok().or(Code::Unavailable);
    let load = Load::new(40, 600.ms(), 100.ms()..=800.ms())
        .rpc::<Enter>(Via::Rest, entries(), right())
        .rpc::<Enter>(Via::Grpc, entries(), right())
        .metadata(idempotency::metadata(matching("[a-h]")));
    let about = "calls under idempotency keys fail when they have entered";
    in_one_node("tally", Scenario::new("undone", about, load, Swarm::calm()))
        .promises(promises::of_calls())
        .invariant(|| EnteredOnce::new(false, FOREVER_MS.ms()))
        .every_call("who repeats a call that failed is told how it did", |call| match &call.reply {
            Some(reply) if reply.message() == Some(ledger::HALF_DONE) => Ok(()),
            other => {
                Err(format!("{}: expected {:?}, and it got {other:?}", call.request_id, ledger::HALF_DONE))
            }
        })
}

/// The scenario of calls that are cut off by their deadlines when what they ask for is done: to make them again does not do it
/// again.
pub(crate) fn cut() -> Scenario {
    let entries = || Just(Entry { key: "a".to_owned(), amount: 1, answer_ms: 400, ..Entry::default() });
    let late = || Expect::ok().or(Code::DeadlineExceeded);
    let load = Load::new(40, 1500.ms(), 100.ms()..=300.ms())
        .rpc::<Enter>(Via::Grpc, entries(), late())
        .metadata(idempotency::metadata(matching("[a-h]")));
    let about = "calls under idempotency keys are cut off when they have entered";
    in_one_node("tally", Scenario::new("cut", about, load, Swarm::calm()))
        .promises(promises::of_calls())
        .invariant(|| EnteredOnce::new(false, FOREVER_MS.ms()))
        .every_call("who repeats a call that was cut off is not answered as if it had worked", |call| {
            match call.reply.as_ref().is_some_and(rehearse::Reply::is_ok) {
                true => Err(format!("{} has worked, in less time than it takes", call.request_id)),
                false => Ok(()),
            }
        })
}

/// The scenario of calls under idempotency keys that may be handled again: where a node has died over one, the next has it handled,
/// and not refused, and what it comes to is remembered.
pub(crate) fn again() -> Scenario {
    let requests = || Just(Script { text: "again".to_owned(), wait_ms: 80, ..Script::default() });
    // What is cut off by its deadline is told to whoever repeats it.
    let load = Load::new(60, 900.ms(), 400.ms()..=800.ms())
        .rpc::<middle::Play>(Via::Rest, requests(), Expect::ok())
        .rpc::<middle::Play>(Via::Grpc, requests(), Expect::ok())
        .metadata(idempotency::metadata(matching("[a-p]")));
    let about = "clients repeat under idempotency keys what may be handled again, and the node dies";
    let swarm = Swarm::new(2..=4, 700.ms(), 50.ms()..=150.ms()).host("middle");
    let swarm = swarm.only(&[Family::Kill, Family::PowerLoss]);
    worlds::hosted(Scenario::new("again", about, load, swarm), &[("middle", &["middle", "back"])])
        .flags(&["--max-calls", "12", "--idempotency-store", "keys"])
        .flags(&["--idempotency-keys-for", &format!("{FOREVER_MS}ms")])
        .sync_takes(20.ms())
        .promises(promises::of_calls().enough(ENOUGH))
}

/// A tally in one node that is called by clients who repeat what they enter.
pub(crate) fn tally(
    name: &str,
    about: &str,
    swarm: Swarm,
    load: Load,
    (is_stored, kept_for): (bool, Duration),
) -> Scenario {
    in_one_node("tally", Scenario::new(name, about, load, swarm))
        .flags(&["--max-calls", "12"])
        .promises(promises::of_calls().enough(ENOUGH))
        .invariant(move || EnteredOnce::new(is_stored, kept_for))
        .every_call("an error is told whole, also to who repeats its call", told_whole)
}

/// The ledger or the tally, in the one node of the scenario.
pub(crate) fn in_one_node(service: &str, scenario: Scenario) -> Scenario {
    scenario
        .stand_in(worlds::STAND_IN, worlds::IDLE_FOR_A_SECOND)
        .nodes(&[service], |_: &Host| ledger::add_to(App::new(), Duration::from_secs(1)))
}

/// Longer than any rehearsal.
pub(crate) const FOREVER_MS: u64 = 600_000;

/// What a healthy call may take here: it waits for three syncs, and for each of them until the one before has ended.
const ENOUGH: Duration = Duration::from_millis(500);

/// Few keys and few amounts, so that most calls are made before, some of them as others. Where keys are stored there are
/// more of each, so that some are new whenever the power is lost, and are used again afterwards.
pub(crate) fn load(is_stored: bool, bytes: usize) -> Load {
    let (calls, over, keys) = if is_stored { (60, 900.ms(), "[a-p]") } else { (40, 600.ms(), "[a-h]") };
    entries(Load::new(calls, over, 100.ms()..=800.ms()), keys, bytes)
}

fn entries(load: Load, keys: &'static str, bytes: usize) -> Load {
    let entries = || (0..=2_i64).prop_map(|amount| Entry { key: "a".to_owned(), amount, ..Entry::default() });
    // Large ones fill the log of the store, so that it is written anew while calls run. A path has no room for them.
    let pad = move |entry: &mut Entry, _| entry.key = "a".repeat(bytes);
    let right = || Expect::ok().or(Code::FailedPrecondition).or(Code::Aborted).or(Code::OutOfRange);
    load.rpc::<Enter>(Via::Rest, entries(), right())
        .rpc_with_id::<Enter>(Via::Grpc, entries(), right(), pad)
        .metadata(idempotency::metadata(quoted_or_not(keys)))
}

/// A key, quoted or not, or none.
fn quoted_or_not(keys: &'static str) -> impl Strategy<Value = String> {
    let quoted = format!("\"{keys}\"");
    prop_oneof![2 => matching(keys), 1 => matching(&quoted), 1 => matching("")]
}

/// What makes a handler slow, or takes its caller away; where keys are stored, what takes the node away, again and again.
fn swarm(is_stored: bool) -> Swarm {
    let swarm = match is_stored {
        false => Swarm::new(1..=3, 500.ms(), 50.ms()..=400.ms()).only(&[
            Family::Reset,
            Family::SlowLink,
            Family::Partition,
            Family::SlowHandler,
            Family::FullService,
            Family::Pause,
            Family::Kill,
            Family::Drain,
        ]),
        true => Swarm::new(2..=5, 800.ms(), 50.ms()..=200.ms()).only(&[
            Family::Reset,
            Family::SlowHandler,
            Family::Kill,
            Family::PowerLoss,
        ]),
    };
    swarm.link(CLIENTS, "tally").host("tally")
}

/// Whether all is there that the tally says to who enters nothing. Details are for clients of gRPC only.
fn told_whole(call: &CallRecord) -> Result<(), String> {
    let Some(reply) = call.reply.as_ref().filter(|reply| reply.status == "OUT_OF_RANGE") else {
        return Ok(());
    };
    let has_metadata = reply.metadata.iter().any(|(name, _)| name == ledger::REFUSED_BY);
    let has_details = call.request.client == "rest" || !reply.details.is_empty();
    if reply.value == ledger::NOTHING && has_metadata && has_details {
        return Ok(());
    }
    Err(format!(
        "{}: expected {:?}, {} and details; seen: {reply:?}",
        call.request_id,
        ledger::NOTHING,
        ledger::REFUSED_BY
    ))
}
