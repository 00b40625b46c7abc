//! Rehearsals of actors that are busy: calls wait for them, and some until it is too late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use node::App;
use probe_contract::back::Glance;
use probe_contract::ledger::{Enter, EnterLater, Look};
use probe_contract::{Entry, Script, tally};
use rehearse::facts::{HandlerBegun, HandlerBegunLate, NodeStarted};
use rehearse::proptest::prelude::*;
use rehearse::proptest::strategy::SBoxedStrategy;
use rehearse::{
    CallRecord, Code, Event, Expect, Family, Host, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via,
    Wants, drawn, matching, promises, request,
};

use crate::state::Totals;
use crate::{ledger, state, trial, worlds};

/// What a call may take here that does not wait for others; nobody waits as long.
const ENOUGH: Duration = Duration::from_millis(500);

/// How long a call may be with an actor: its own time, and that of those before it.
const TAKES_MAX: Duration = Duration::from_millis(1000);

/// How soon a node knows that a client over gRPC has gone: one hop, and a moment.
const GONE_AFTER: Duration = Duration::from_millis(50);

/// How long a call goes on whose client has left over REST: that may have closed its own side only.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

/// The scenario of actors that are busy.
pub(crate) fn busy() -> sim::Scenario {
    drawn("busy", "calls wait for actors that are busy, and some until it is too late", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let keys = picks.pick("keys", &["[ab]", "[a-f]"]);
    let idle = Duration::from_millis(picks.pick("ledger idle ms", &[1000, 20]));
    let load = Load::new(50, 900.ms(), 60.ms()..=400.ms()).bursts(picks.pick("bursts", &[1, 4]));
    let load =
        if picks.pick("timeouts", &["said", "not said"]) == "said" { load } else { load.without_timeouts() };
    let panics = picks.pick("panics", &[false, true]);
    let swarm = match panics {
        true => {
            Swarm::new(1..=3, 800.ms(), 10.ms()..=60.ms()).host("books").only(&[Family::PanickingHandler])
        }
        false => Swarm::calm(),
    };
    let scenario = Scenario::new("", "", entries(load, keys), swarm)
        .stand_in(worlds::STAND_IN, &["--ledger-idle", &format!("{}ms", idle.as_millis())])
        .node("books", &["ledger", "tally", "back"], move |_: &Host| trial::add_to(App::new(), idle))
        .workers(picks.pick("workers", &[2, 1]))
        .flags(&["--max-calls", picks.pick("--max-calls", &["1024", "4"])])
        .promises(of_calls())
        .invariant(EnteredInTime::default)
        .invariant(ledger::LinesHaveTheirKeys::default)
        .invariant(NoMoreActors::default);
    // An actor that has died is new, too.
    let scenario = match panics {
        true => scenario,
        false => scenario.invariant(move || LongestIdleMakesRoom::new(idle)),
    };
    // Where there are more keys than may have actors, one that is idle makes room, and its total begins anew.
    if keys == "[ab]" {
        scenario.fold("a key's total is in one place", move |totals: &mut Totals, event| {
            state::one_total_for_each_key(totals, event, idle, TAKES_MAX)
        })
    } else {
        scenario
    }
}

/// Who waits for an actor that is busy is in its mailbox, and keeps its permit, until the actor comes to it.
fn of_calls() -> promises::OfCalls {
    let all = promises::of_calls().enough(ENOUGH);
    all.except(promises::HANDLERS_END_WITH_CALLS).except(promises::HANDLERS_END_BY_DEADLINES)
}

fn entries(load: Load, keys: &str) -> Load {
    let entries: SBoxedStrategy<Entry> = (
        ledger::keys(keys),
        1..9_i64,
        prop::sample::select(vec![0, 0, 60, 120]),
        prop::sample::select(vec![20, 60, 150]),
    )
        .prop_map(|(key, amount, busy_ms, later_ms)| Entry { key, amount, busy_ms, later_ms, answer_ms: 0 })
        .sboxed();
    let looks = ledger::keys(keys).prop_map(|key| Entry { key, ..Entry::default() });
    let glances = matching("[a-z]{4,8}").prop_map(|text| Script { text, ..Script::default() });
    // All actors that there may be may have calls.
    let right = || Expect::ok().or(Code::ResourceExhausted);
    load.rpc::<Enter>(Via::Grpc, entries.clone(), right())
        .rpc::<EnterLater>(Via::Grpc, entries.clone(), right())
        .rpc::<EnterLater>(Via::Grpc, entries.clone(), right())
        .rpc::<EnterLater>(Via::Rest, entries.clone(), right())
        .rpc::<Look>(Via::Rest, looks, right())
        .rpc::<tally::Enter>(Via::Rest, entries.clone(), Expect::ok())
        .rpc::<tally::Enter>(Via::Grpc, entries, Expect::ok())
        .rpc::<Glance>(Via::Grpc, glances, Expect::ok())
}

/// What is entered is entered for a call that still lasts.
#[derive(Debug, Default)]
struct EnteredInTime {
    /// When each call that was taken on is late.
    due: BTreeMap<u32, Duration>,
    /// When each client over gRPC has ended its call.
    gone: BTreeMap<u32, Duration>,
    met: u64,
}

impl Invariant for EnteredInTime {
    fn name(&self) -> &str {
        "what is entered is entered for a call that still lasts"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<HandlerBegun>().fact::<HandlerBegunLate>()
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let ended = call.ended.filter(|_| call.request.client == "grpc");
        self.gone.extend(ended.map(|ended| (call.request.id, ended)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(request) = event.request else { return Ok(()) };
        if let Some(begun) = event.told::<HandlerBegun>() {
            self.due.extend(begun.left.map(|left| (request, event.at + left)));
        }
        if event.told::<HandlerBegunLate>().is_some() {
            return Err(format!("expected that it is refused: {event}"));
        }
        if event.field("total").is_none() {
            return Ok(());
        }
        self.met += 1;
        let late =
            self.due.get(&request).and_then(|due| event.at.checked_sub(*due)).filter(|late| !late.is_zero());
        if let Some(late) = late {
            return Err(format!(
                "{event}: the deadline of its call had passed {} ms before",
                late.as_millis()
            ));
        }
        let gone = self.gone.get(&request).and_then(|gone| event.at.checked_sub(*gone));
        match gone.filter(|ago| *ago > GONE_AFTER) {
            Some(ago) => Err(format!("{event}: its client had gone {} ms before", ago.as_millis())),
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// No more keys have calls at once than may have actors.
#[derive(Debug, Default)]
struct NoMoreActors {
    keys: BTreeMap<u32, String>,
    begun: BTreeMap<u32, Duration>,
    /// From when to when calls were under way that have entered something, and the key of each.
    entered: Vec<(Duration, Duration, String)>,
    met: u64,
}

impl Invariant for NoMoreActors {
    fn name(&self) -> &str {
        "no more keys have actors than may"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<HandlerBegun>().fact::<NodeStarted>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let entry = request::<EnterLater>(call);
        self.keys.extend(entry.map(|entry| (call.request.id, entry.key)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.entered.clear();
        }
        let Some((request, key)) = event.request.and_then(|request| self.keys.get_key_value(&request)) else {
            return Ok(());
        };
        if event.told::<HandlerBegun>().is_some() {
            self.begun.insert(*request, event.at);
        } else if event.field("total").is_some() {
            self.entered.extend(self.begun.get(request).map(|begun| (*begun, event.at, key.clone())));
            self.met += 1;
            return self.judge();
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl NoMoreActors {
    fn judge(&self) -> Result<(), String> {
        for (moment, ..) in &self.entered {
            let at_once = self.entered.iter().filter(|(from, to, _)| from <= moment && moment < to);
            let keys: BTreeSet<_> = at_once.map(|(.., key)| key).collect();
            if keys.len() > ledger::ACTORS_MAX {
                return Err(format!(
                    "at {} ms there were calls of {} keys at actors of the ledger, {keys:?}; expected {} at most",
                    moment.as_millis(),
                    keys.len(),
                    ledger::ACTORS_MAX
                ));
            }
        }
        Ok(())
    }
}

/// The key whose actor makes room for another is the one that was idle longest: since it was used, as many others were as there may be.
#[derive(Debug)]
struct LongestIdleMakesRoom {
    /// After so long without a call an actor goes by itself.
    idle: Duration,
    keys: BTreeMap<u32, String>,
    /// The calls that are under way, and when those to each key have ended last.
    open: BTreeSet<u32>,
    used: BTreeMap<String, Duration>,
    /// What each key had come to, and when.
    totals: BTreeMap<String, (i64, Duration)>,
    met: u64,
}

impl LongestIdleMakesRoom {
    fn new(idle: Duration) -> Self {
        let (keys, open, used, totals) = Default::default();
        Self { idle, keys, open, used, totals, met: 0 }
    }

    /// The keys that calls have used since, or may have.
    fn used_since(&self, since: Duration) -> BTreeSet<&String> {
        let open = self.open.iter().filter_map(|request| self.keys.get(request));
        let used = self.used.iter().filter(|(_, ended)| **ended + GONE_AFTER >= since);
        open.chain(used.map(|(key, _)| key)).collect()
    }
}

impl Invariant for LongestIdleMakesRoom {
    fn name(&self) -> &str {
        "the key that was idle longest makes room for another"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let key = ledger::key_of(call).filter(|_| request::<tally::Enter>(call).is_none());
        if let Some(key) = key {
            self.keys.insert(call.request.id, key);
            self.open.insert(call.request.id);
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let key = self.keys.get(&call.request.id).filter(|_| self.open.remove(&call.request.id));
        let has_left =
            call.request.client == "rest" && !call.reply.as_ref().is_some_and(rehearse::Reply::is_ok);
        let goes_on = if has_left { HALF_CLOSED_MAX } else { Duration::ZERO };
        if let Some((key, ended)) = key.zip(call.ended) {
            let used = self.used.entry(key.clone()).or_default();
            *used = (ended + goes_on).max(*used);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let number = |name| event.field(name).and_then(rehearse::Value::as_i64);
        let Some((before, total)) = number("before").zip(number("total")) else { return Ok(()) };
        let Some(key) = event.request.and_then(|request| self.keys.get(&request)) else { return Ok(()) };
        let (last, at) = self.totals.insert(key.clone(), (total, event.at)).unwrap_or_default();
        self.met += 1;
        if before == last || before != 0 || event.at >= at + self.idle {
            return Ok(());
        }
        let mut others = self.used_since(at);
        others.remove(key);
        if others.len() >= ledger::ACTORS_MAX {
            return Ok(());
        }
        Err(format!(
            "its actor is new, and was there {} ms before, since when only {others:?} were used; expected that it stays, since {} \
             have room: {event}",
            (event.at - at).as_millis(),
            ledger::ACTORS_MAX
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
