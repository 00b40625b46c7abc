//! A scenario of a service with state: one actor for two workers, a journal on a disk, a watched stream.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use node::actix::{Actor, ActorContext as _, Context, Handler};
use node::disk::Disk as _;
use node::{App, Call, Reply, Serve, Status, Streaming, tracing};
use probe_contract::counter::{Add, AddAfterwards, AddLater, Counter, Watch};
use probe_contract::{AddRequest, Total};
use rehearse::facts::StreamMessage;
use rehearse::proptest::prelude::*;
use rehearse::{
    Code, Disk, Event, Expect, Family, Host, Load, Ms as _, Scenario, Swarm, Via, matching, promises,
};
use sim::{Keep, rehearse_seed};

/// Remembers a total, and refuses to let it become more than fifty.
struct CounterActor {
    total: i64,
    disk: Disk,
    is_forgetful: bool,
}

impl CounterActor {
    fn new(disk: Disk, is_forgetful: bool) -> Self {
        let total = disk.read().expect("the host runs").iter().map(|byte| i64::from(*byte)).sum();
        Self { total, disk, is_forgetful }
    }

    fn add(&mut self, amount: i64) -> node::Result<Total> {
        let (before, total) = (self.total, self.total + amount);
        if total > 50 {
            return Err(Status::failed_precondition("that is too much"));
        }
        let byte = u8::try_from(amount).map_err(|_| Status::invalid_argument("amount"))?;
        let written = self.disk.append(&[byte]);
        let written = if self.is_forgetful { written } else { written.and_then(|()| self.disk.sync()) };
        written.map_err(|error| Status::unavailable(error.to_string()))?;
        self.total = total;
        tracing::info!(before, total, "added");
        Ok(Total { total, before })
    }
}

impl Actor for CounterActor {
    type Context = Context<Self>;
}

impl Serve for CounterActor {
    type Contract = Counter;
}

impl Handler<Call<Add>> for CounterActor {
    type Result = Reply<Add>;

    fn handle(&mut self, call: Call<Add>, actor: &mut Context<Self>) -> Self::Result {
        call.answer_now(|request| {
            // Of what could not be written, the next actor finds as much as is there.
            self.add(request.amount).inspect_err(|failed| {
                if failed.code() == Code::Unavailable {
                    actor.stop();
                }
            })
        })
    }
}

impl Handler<Call<AddLater>> for CounterActor {
    type Result = Reply<AddLater>;

    fn handle(&mut self, call: Call<AddLater>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|_| Err(Status::unimplemented("")))
    }
}

impl Handler<Call<AddAfterwards>> for CounterActor {
    type Result = Reply<AddAfterwards>;

    fn handle(&mut self, call: Call<AddAfterwards>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|_| Err(Status::unimplemented("")))
    }
}

impl Handler<Call<Watch>> for CounterActor {
    type Result = Reply<Watch>;

    fn handle(&mut self, call: Call<Watch>, actor: &mut Context<Self>) -> Self::Result {
        let context = call.context.clone();
        call.answer_with_state(actor, async move |state, _| {
            let total = state.with(|counter| counter.total).await?;
            let first = stream::iter([Ok(Total { total, before: total })]);
            let rest = stream::pending().take_until(async move { context.drain_started().await });
            Ok(Streaming::local(first.chain(rest)))
        })
    }
}

fn requests(amounts: std::ops::Range<i64>) -> impl Strategy<Value = AddRequest> {
    (matching("[a-c]"), amounts).prop_map(|(key, amount)| AddRequest { key, amount })
}

/// What was told of the totals.
#[derive(Debug, Default)]
struct Totals {
    last: i64,
    watched: u32,
    ids: BTreeMap<String, i64>,
}

fn totals_grow(totals: &mut Totals, event: &Event) -> Result<(), String> {
    totals.watched += u32::from(event.told::<StreamMessage>().is_some());
    let number = |name| event.field(name).and_then(rehearse::Value::as_i64);
    let (Some(before), Some(total)) = (number("before"), number("total")) else { return Ok(()) };
    if before != totals.last {
        return Err(format!("it was {}, and {before} is said: {event}", totals.last));
    }
    totals.last = total;
    totals.ids.extend(event.request_id.clone().map(|id| (id, total)));
    Ok(())
}

fn scenario(swarm: Swarm, is_forgetful: bool) -> Scenario {
    let right = || Expect::ok().or(Code::FailedPrecondition);
    let load = Load::new(20, 300.ms(), 300.ms()..=800.ms())
        .rpc::<Add>(Via::Rest, requests(0..4), right())
        .rpc_with_id::<Add>(Via::Grpc, requests(4..9), right(), |request, id| request.key = id)
        .watch::<Watch>(requests(0..1), Expect::ok());
    let app = move |host: &Host| {
        let disk = host.disk("journal");
        App::new().service_in_node(move |()| CounterActor::new(disk.clone(), is_forgetful))
    };
    Scenario::new("counter", "a service with state", load, swarm)
        .nodes(&["counter"], app)
        .promises(promises::of_calls())
}

fn counter_of(swarm: Swarm, is_forgetful: bool) -> Scenario {
    scenario(swarm, is_forgetful)
        .fold("totals grow from where they were", totals_grow)
        .eventually("somebody has watched", |totals: &Totals| totals.watched > 0 && totals.last > 0)
}

fn counter(swarm: Swarm) -> Scenario {
    counter_of(swarm, false)
}

fn forgetful(swarm: Swarm) -> Scenario {
    counter_of(swarm, true)
}

/// The first broken promise among some seeds.
fn broken(scenario: Scenario, seeds: std::ops::Range<u64>) -> Option<String> {
    let scenario = scenario.into();
    let mut played = seeds.map(|seed| rehearse_seed(&scenario, seed, None, Keep::Hash));
    played.find_map(|played| Some(format!("seed {}: {}", played.plan.seed, played.violation?)))
}

#[test]
fn a_service_with_state_keeps_its_promises_whatever_breaks() {
    let faults = Swarm::new(1..=3, 250.ms(), 20.ms()..=400.ms()).everywhere();
    assert_eq!(broken(counter(Swarm::calm()), 0..5), None);
    assert_eq!(broken(counter(faults), 0..40), None);
}

#[test]
fn a_service_that_does_not_sync_its_journal_is_found_out() {
    let powers = Swarm::new(1..=2, 250.ms(), 20.ms()..=400.ms()).everywhere().only(&[Family::PowerLoss]);
    let found = broken(forgetful(powers), 0..40).expect("a lost total");
    assert!(found.contains("totals grow from where they were"), "{found}");
}

/// A counter whose disk fails, and what must hold of each total when it is added to: the last one, and what is there.
fn on_failing_disks(promise: &'static str, is_right: fn(i64, i64) -> bool) -> Scenario {
    let failing =
        Swarm::new(1..=2, 250.ms(), 20.ms()..=200.ms()).host("counter").only(&[Family::FailingDisk]);
    scenario(failing, false).fold(promise, move |last: &mut i64, event: &Event| {
        let Some((before, total)) = event.number("before").zip(event.number("total")) else { return Ok(()) };
        let last = std::mem::replace(last, total);
        if is_right(last, before) { Ok(()) } else { Err(format!("it was {last}: {event}")) }
    })
}

#[test]
fn an_actor_that_cannot_write_says_so_and_the_next_one_begins_with_what_is_there() {
    let no_less = on_failing_disks("no total is lost", |last, before| before >= last);
    assert_eq!(broken(no_less, 0..60), None);
    let no_more = on_failing_disks("what failed is not there", |last, before| before <= last);
    let found = broken(no_more, 0..60).expect("a byte that was written and not synced");
    assert!(found.contains("what failed is not there"), "{found}");
}

#[test]
fn a_fold_that_asks_for_what_no_event_has_met_nothing() {
    let grows = |name: &'static str| {
        move |last: &mut i64, event: &Event| match event.number(name) {
            Some(total) if total < *last => Err(format!("it was {last}: {event}")),
            total => {
                *last = total.unwrap_or(*last);
                Ok(())
            }
        }
    };
    let scenario = counter(Swarm::calm())
        .fold("by a misspelt name", grows("totl"))
        .eventually("by a misspelt name, in the end", |last: &i64| *last == 0)
        .fold("by its name", grows("total"))
        .fold("by its words", |added: &mut u64, event: &Event| {
            *added += u64::from(event.says("added"));
            Ok(())
        })
        .fold("without a question", |(): &mut (), event: &Event| {
            if event.line().is_some_and(|line| line.message == "no") { Err("no".to_owned()) } else { Ok(()) }
        });
    let played = rehearse_seed(&scenario.into(), 1, None, Keep::Hash);
    assert_eq!(played.violation, None);
    let is_met = |promise: &str| played.met.iter().any(|(name, met)| name == promise && *met > 0);
    assert!(!is_met("by a misspelt name") && !is_met("by a misspelt name, in the end"), "{:?}", played.met);
    assert!(is_met("by its name") && is_met("by its words") && is_met("without a question"));
}

#[test]
fn a_promise_that_never_comes_true_is_told_with_the_state_that_it_is_about() {
    let counted = |added: &mut Vec<String>, event: &Event| {
        added.extend(event.number("total").map(|total| format!("{total} ä")));
        Ok(())
    };
    let scenario = counter(Swarm::calm())
        .fold("all is counted", counted)
        .eventually("nothing is added", |added: &Vec<String>| added.is_empty());
    let told = broken(scenario, 0..1).expect("it never comes true");
    assert!(
        told.contains("nothing is added: it has not come true of [\"") && told.contains(" ä\", \""),
        "{told}"
    );
}

#[test]
fn a_fold_that_panics_is_told_as_a_fold_and_not_as_a_host() {
    let found = counter(Swarm::calm()).fold("totals are known", |(): &mut (), event: &Event| {
        assert!(!event.says("added"), "there is no such row");
        Ok(())
    });
    let found = broken(found, 0..1).expect("it panics");
    let expected = "totals are known: its fold panicked: there is no such row at rehearse/tests/counter.rs:";
    assert!(found.contains(expected), "{found}");
    let check = counter(Swarm::calm()).every_call("calls are known", |_| panic!("there is no such call"));
    let found = broken(check, 0..1).expect("it panics");
    let expected = "calls are known: its check panicked: there is no such call at rehearse/tests/counter.rs:";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn two_runs_of_one_seed_are_the_same_with_two_workers() {
    let faults = Swarm::new(1..=3, 250.ms(), 20.ms()..=400.ms()).everywhere();
    let scenario = sim::Scenario::from(counter(faults));
    for seed in 100..110 {
        let [one, other] = [(); 2].map(|()| rehearse_seed(&scenario, seed, None, Keep::Hash).trace_hash);
        assert_eq!(one, other, "seed {seed}");
    }
}
