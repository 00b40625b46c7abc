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
    Swarm, Via, Wants, What, answer, drawn, matching, promises, request,
};

use crate::ledger::{self, TALLY};
use crate::worlds;

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
        .metadata(metadata(matching("[a-h]")));
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

/// The metadata of calls that have these keys. An empty key is none.
pub(crate) fn metadata(keys: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(String, String)>> {
    keys.prop_map(|key| if key.is_empty() { Vec::new() } else { vec![(IDEMPOTENCY_KEY.to_owned(), key)] })
}

/// The idempotency key of a call, without quotes.
pub(crate) fn key(request: &Request) -> Option<String> {
    let (_, key) = request.metadata.iter().find(|(name, _)| name == IDEMPOTENCY_KEY)?;
    Some(key.trim_matches('"').to_owned())
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longer than any rehearsal.
pub(crate) const FOREVER_MS: u64 = 600_000;

/// How long after a key was forgotten a call may still have been made before: a store syncs what a call came to first.
const SYNCS: Duration = Duration::from_millis(150);

/// How exactly the time of a start is known.
const MOMENT: Duration = Duration::from_millis(20);

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
        .metadata(metadata(quoted_or_not(keys)))
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

/// A key enters once for as long as it is kept and the node lives, or, where keys are stored, for as long as its host
/// does. Everybody who uses it is told what that came to, and nobody when it is kept no more. Where a node has died over
/// it nobody may know, and then nobody ever does.
#[derive(Debug, Default)]
pub(crate) struct EnteredOnce {
    is_stored: bool,
    kept_for: Duration,
    calls: BTreeMap<u32, (String, i64)>,
    /// When each key was first used.
    used: BTreeMap<String, Duration>,
    /// When the node was started.
    started: Vec<Duration>,
    /// The keys of which somebody was told that nobody knows, and when the node was first started after the key was used.
    unknown: BTreeMap<String, Duration>,
    /// The keys that were used since the node was last started, but for those that it refused as unknown.
    used_since: BTreeSet<String>,
    /// When the node was last started after it had died over a key.
    died_over: BTreeMap<String, Duration>,
    /// The keys of which somebody was told what they came to, and when they had entered.
    known: BTreeMap<String, Duration>,
    /// What keys have entered when, as somebody was told.
    told: BTreeSet<(String, Duration)>,
    /// From when to when disks failed.
    disk_failed: BTreeMap<usize, (Duration, Duration)>,
    /// By which call each key has entered on a host, and when.
    entered: BTreeMap<(Arc<str>, String), (u32, Duration)>,
    /// All that each key was ever told to have entered, and when.
    balances: BTreeMap<(String, i64, i64), Duration>,
    /// The calls in flight that have a key.
    open: BTreeSet<u32>,
    /// The keys in use when the node died: a process takes its last lines along.
    unheard: BTreeSet<String>,
    met: u64,
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
        if let Some((_, key)) = &entry {
            self.used.entry(key.clone()).or_insert(call.started);
            self.open.insert(call.request.id);
        }
        self.calls.extend(entry.map(|(entry, key)| (call.request.id, (key, entry.amount))));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.started.push(event.at);
            let open = self.open.iter().filter_map(|call| Some(self.calls.get(call)?.0.clone()));
            let used: Vec<_> = std::mem::take(&mut self.used_since).into_iter().chain(open).collect();
            self.died_over.extend(used.into_iter().map(|key| (key, event.at)));
            self.entered.retain(|(host, _), _| self.is_stored || *host != event.host);
        }
        if let What::FaultBegins { fault, .. } | What::FaultEnds { fault, .. } = &event.what
            && fault.what.family().takes_down()
        {
            let keys = self.open.iter().filter_map(|call| self.calls.get(call));
            self.unheard.extend(keys.map(|(key, _)| key.clone()));
        }
        match &event.what {
            What::FaultBegins { number, fault } if fault.what.family() == Family::FailingDisk => {
                self.disk_failed.insert(*number, (event.at, Duration::MAX));
            }
            What::FaultEnds { number, .. } => {
                self.disk_failed.entry(*number).and_modify(|(_, until)| *until = event.at);
            }
            _ => {}
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
        if self.is_unknown(key, event.at) {
            return Err(format!("{event}: nobody knew whether the key {key} had entered, and now it has"));
        }
        self.balances.insert((key.clone(), before, total), event.at);
        match self.entered.insert((Arc::clone(&event.host), key.clone()), (by, event.at)) {
            Some((first, at)) if event.at < at + self.kept_for => {
                Err(format!("{event}: sim-{first:06} has entered it already under the key {key}"))
            }
            _ => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.open.remove(&call.request.id);
        let is_unknown = call.reply.as_ref().is_some_and(|reply| reply.status == "ABORTED");
        let key = self.calls.get(&call.request.id).filter(|_| !is_unknown);
        self.used_since.extend(key.map(|(key, _)| key.clone()));
        let Some(Balance { before, total }) = answer::<Enter>(call) else { return self.failed(call) };
        let Some((key, amount)) = self.calls.get(&call.request.id) else { return Ok(()) };
        if self.is_unknown(key, call.ended.unwrap_or(call.started)) {
            return Err(format!("{}: nobody knew what the key {key} came to", call.request_id));
        }
        let balance = (key.clone(), before, total);
        if self.unheard.remove(key) {
            // It has entered at the latest when somebody was told so.
            let told = call.ended.unwrap_or(call.started);
            self.balances.entry(balance.clone()).or_insert(told);
        }
        let entered = self.balances.get(&balance);
        if let (Some(at), Some(now)) = (entered, call.ended) {
            let since = call.started.min(*at);
            let has_failed =
                || self.disk_failed.values().any(|(from, until)| *from <= now && *until >= since);
            // What the disk did not take is known for as long as the process lasts.
            if self.told.insert((key.clone(), *at)) && !has_failed() {
                self.known.insert(key.clone(), *at);
            }
        }
        let syncs = if self.is_stored { SYNCS } else { Duration::ZERO };
        let is_kept = |at: &Duration| call.started < at.saturating_add(self.kept_for) + syncs;
        if total - before == *amount && entered.is_some_and(is_kept) {
            return Ok(());
        }
        Err(format!(
            "{}: it was to enter {amount} under the key {key}, and was told {before} and {total}; made at {} ms, expected what \
             has entered no longer ago than {} ms: {:?}",
            call.request_id,
            call.started.as_millis(),
            self.kept_for.as_millis(),
            self.balances
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl EnteredOnce {
    /// Keys are kept for so long, and where they are stored, also when the node is started again.
    pub(crate) fn new(is_stored: bool, kept_for: Duration) -> Self {
        Self { is_stored, kept_for, ..Self::default() }
    }

    /// Whether it is said of the key that nobody knows what it came to, for as long as that is kept.
    fn is_unknown(&self, key: &str, now: Duration) -> bool {
        self.unknown.get(key).is_some_and(|since| now < since.saturating_add(self.kept_for))
    }

    /// Judges the call by how it failed.
    fn failed(&mut self, call: &CallRecord) -> Result<(), String> {
        let status = call.reply.as_ref().map_or("", |reply| &reply.status);
        let (is_other, is_unknown) = (status == "FAILED_PRECONDITION", status == "ABORTED");
        let Some((key, _)) = self.calls.get(&call.request.id) else {
            let is_about_keys = is_other || is_unknown;
            return if is_about_keys { Err(format!("{} has no key", call.request_id)) } else { Ok(()) };
        };
        if !is_unknown {
            return Ok(());
        }
        let used = self.used.get(key).copied().unwrap_or_default();
        let started = self.started.iter().find(|started| used < **started).copied();
        self.unknown.insert(key.clone(), started.unwrap_or_default());
        // One that is forgotten may have been used anew.
        let now = call.ended.unwrap_or(call.started);
        let until = self.died_over.get(key).map(|started| started.saturating_add(self.kept_for));
        let may_be_unknown = self.is_stored && until.is_some_and(|until| call.started < until + MOMENT);
        let is_known = self.known.get(key).is_some_and(|at| now < at.saturating_add(self.kept_for));
        if may_be_unknown && !is_known {
            return Ok(());
        }
        Err(format!(
            "{}: what the key {key} came to is unknown, and need not be: the node was last started after it had died over the \
             key at {:?}, it remembers that for {} ms, and somebody was told at {:?} what it came to",
            call.request_id,
            self.died_over.get(key),
            self.kept_for.as_millis(),
            self.known.get(key)
        ))
    }
}
