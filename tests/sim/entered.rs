//! What must hold of entries that are made under idempotency keys: each key enters once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use probe_contract::Balance;
use probe_contract::tally::Enter;
use rehearse::facts::NodeStarted;
use rehearse::{CallRecord, Event, Family, Invariant, Wants, What, answer, request};

use crate::idempotency::key;
use crate::ledger::TALLY;

/// How long after a key was forgotten a call may still have been made before: a store syncs what a call came to first.
const SYNCS: Duration = Duration::from_millis(150);

/// How exactly a time is known: the clocks of simulated machines go in steps.
const MOMENT: Duration = Duration::from_millis(20);

/// What is said of a key of which nobody knows what it came to.
const UNKNOWN: &str = "ABORTED";

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
            let used = std::mem::take(&mut self.used_since).into_iter().chain(self.open_keys());
            self.died_over.extend(used.map(|key| (key, event.at)));
            self.entered.retain(|(host, _), _| self.is_stored || *host != event.host);
        }
        if let What::FaultBegins { fault, .. } | What::FaultEnds { fault, .. } = &event.what
            && fault.what.family().takes_down()
        {
            self.unheard.extend(self.open_keys());
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
            Some((first, at)) if event.at + self.step() < at + self.kept_for => {
                Err(format!("{event}: sim-{first:06} has entered it already under the key {key}"))
            }
            _ => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.open.remove(&call.request.id);
        let key = self.calls.get(&call.request.id).filter(|_| status(call) != UNKNOWN);
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

    /// The keys of the calls in flight.
    fn open_keys(&self) -> Vec<String> {
        self.open.iter().filter_map(|call| Some(self.calls.get(call)?.0.clone())).collect()
    }

    /// What is stored is kept by the clock of the machine.
    fn step(&self) -> Duration {
        if self.is_stored { MOMENT } else { Duration::ZERO }
    }

    /// Whether it is said of the key that nobody knows what it came to, for as long as that is kept.
    fn is_unknown(&self, key: &str, now: Duration) -> bool {
        self.unknown.get(key).is_some_and(|since| now < since.saturating_add(self.kept_for))
    }

    /// Judges the call by how it failed.
    fn failed(&mut self, call: &CallRecord) -> Result<(), String> {
        let (is_other, is_unknown) = (status(call) == "FAILED_PRECONDITION", status(call) == UNKNOWN);
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

fn status(call: &CallRecord) -> &str {
    call.reply.as_ref().map_or("", |reply| &reply.status)
}
