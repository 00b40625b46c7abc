//! Rehearsals of callees that say whether they serve, and of one that does not know of that, to callers that ask.

use std::collections::BTreeMap;
use std::time::Duration;

use rehearse::facts::{CallMade, CallOutcome, Connection, ConnectionStep, ServingTold};
use rehearse::{
    CallRecord, Code, Event, Expect, Family, Load, Ms as _, Picks, Scenario, Swarm, drawn, promises,
};

use crate::greetings::greetings;
use crate::{checks, foreign, scenarios};

/// The scenario of a replica that does not serve for a while, as it says.
pub(crate) fn serving() -> sim::Scenario {
    drawn("serving", "one of two hosts of service1 says that it does not serve: no call is lost", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let rests = match picks.pick("it rests", &["at first", "later"]) {
        "later" => 300.ms()..900.ms(),
        _ => 0.ms()..600.ms(),
    };
    let load = Load::new(30, 1200.ms(), 400.ms()..=800.ms()).bursts(picks.pick("bursts", &[1, 4]));
    let resting = foreign::service1().rests(rests);
    let resting = match picks.pick("it says so", &["by a word", "by saying no more", "by another word"]) {
        "by saying no more" => resting.says_no_more_then(),
        "by another word" => resting.does_not_know_then(),
        _ => resting,
    };
    let scenario = Scenario::new("serving", "", scenarios::greetings(load), Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("resting", resting);
    let scenario = match picks.pick("the other one", &["does not know of it", "is a node"]) {
        "is a node" => scenario.nodes(&["service1"], scenarios::app),
        _ => scenario.foreign("plain", foreign::service1()),
    };
    scenario
        .flags(&["--policy", "service1.health-check=true"])
        .workers(1)
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("with another host that serves, no call is lost", checks::works)
        .fold("hosts say whether they serve", asked)
        .eventually("who is to ask whether a host serves does", |asked: &bool| *asked)
}

/// Whether anybody has asked a host whether it serves.
fn asked(asked: &mut bool, event: &Event) -> Result<(), String> {
    *asked |= event.told::<ServingTold>().is_some();
    Ok(())
}

/// The scenario of a host that does not say whether it serves, whose callers give it time.
pub(crate) fn mute() -> sim::Scenario {
    drawn(
        "mute",
        "a host of service1 never says whether it serves: it is taken not to, and asked again later",
        mute_world,
    )
}

/// Over seconds, since its callers wait for the time of a greeting, and then for a second and more.
fn mute_world(picks: &mut Picks<'_>) -> Scenario {
    let patience = picks.pick("--greeting-timeout", &["2s", "100ms"]);
    let load = Load::new(24, 9000.ms(), 3000.ms()..=3500.ms()).bursts(picks.pick("bursts", &[1, 4]));
    // Where there is no other host, a call learns in time that there is none that serves.
    let is_alone = picks.pick("another host", &["there", "none"]) == "none";
    let right = if is_alone { Expect::ok().or(Code::Unavailable) } else { Expect::ok() };
    let load = greetings(load, right);
    let scenario = Scenario::new("mute", "", load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("mute", foreign::service1().never_says_whether_it_serves());
    let scenario = if is_alone { scenario } else { scenario.nodes(&["service1"], scenarios::app) };
    scenario
        .flags(&[
            "--policy",
            "service1.health-check=true",
            "--greeting-timeout",
            patience,
            "--deadline",
            "3s",
        ])
        .workers(1)
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE).enough(2800.ms()))
        .every_call("every reply belongs to its request", checks::right_value)
}

/// The least that gRPC's backoff waits.
const WAIT_LEAST: Duration = Duration::from_millis(800);

/// The scenario of a host that says that it serves, and hangs up on who has asked.
pub(crate) fn terse() -> Scenario {
    let load = scenarios::greetings(Load::new(30, 4000.ms(), 400.ms()..=800.ms()));
    let about = "a host of service1 says that it serves, and no more: it is asked again, and not without end";
    Scenario::new("terse", about, load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("terse", foreign::service1().rests(foreign::RESTS).says_one_word())
        .nodes(&["service1"], scenarios::app)
        .flags(&["--policy", "service1.health-check=true"])
        .workers(1)
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("with another host that serves, no call is lost", checks::works)
        .fold("who says a word and hangs up is asked again by gRPC's backoff", asked_seldom)
}

/// When it was asked last.
fn asked_seldom(asked: &mut Option<Duration>, event: &Event) -> Result<(), String> {
    if event.told::<ServingTold>().is_none() {
        return Ok(());
    }
    match asked.replace(event.at).map(|before| event.at.saturating_sub(before)) {
        Some(after) if after < WAIT_LEAST => Err(format!(
            "{} was asked again after {} ms; expected {} at least: {event}",
            event.host,
            after.as_millis(),
            WAIT_LEAST.as_millis()
        )),
        _ => Ok(()),
    }
}

/// The scenario of a node that drains, and says to those who ask that it does not serve any more: a moment before it starts.
pub(crate) fn announced() -> Scenario {
    let drains = Swarm::new(1..=2, 250.ms(), 400.ms()..=800.ms()).host("service1").only(&[Family::Drain]);
    let load = scenarios::greetings(Load::new(60, 500.ms(), 300.ms()..=800.ms()));
    let about = "one of two hosts of service1 drains, and says so to those who ask: no call is sent there";
    scenarios::two_nodes("announced", about, load, drains, scenarios::ADMITTED)
        .node("spare1", &["service1"], scenarios::app)
        .workers(1)
        .flags(&["--policy", "service1.health-check=true"])
        .every_call("with another host that serves, a drain loses no call", checks::works)
}

/// The scenario of a service none of whose replicas serves at first, whose callers wait until one does.
pub(crate) fn waiting() -> sim::Scenario {
    drawn(
        "waiting",
        "no host of service1 serves at first, and its callers wait: no call is lost",
        waiting_world,
    )
}

fn waiting_world(picks: &mut Picks<'_>) -> Scenario {
    match picks.pick("the hosts", &["say when they serve", "drain and come back"]) {
        "drain and come back" => comes_back(picks),
        _ => says_when(picks),
    }
}

/// A node that says that it does not serve before it drains: its callers wait until it is back. They are few: a call that comes
/// looks for all that wait.
fn comes_back(picks: &mut Picks<'_>) -> Scenario {
    let drains = Swarm::new(1..=1, 4000.ms(), 2500.ms()..=4000.ms()).host("service1").only(&[Family::Drain]);
    let load = scenarios::greetings(Load::new(4, 5000.ms(), 9000.ms()..=9900.ms()).bursts(4));
    let delay = picks.pick("--drain-delay", &["2s", "300ms"]);
    scenarios::two_nodes("waiting", "", load, drains, scenarios::ADMITTED)
        .flags(&["--policy", WAITS, "--deadline", "10s", "--drain-delay", delay])
        .recovers_within(20_000.ms())
        .every_call("a call that waits for a host that serves is not lost", checks::works)
}

/// The scenario of two hosts of which one can never be connected to, and the other only at times: callers wait, and each is tried
/// when its own wait is over, and not when that of both is.
pub(crate) fn sooner() -> Scenario {
    let load = scenarios::greetings(Load::new(8, 8000.ms(), 16_000.ms()..=17_000.ms()));
    let swarm = Swarm::new(1..=2, 3000.ms(), 2000.ms()..=5000.ms()).host("service1").only(&[Family::Kill]);
    let about = "callers wait for a host that is killed, beside one that hangs up on everybody";
    Scenario::new("sooner", about, load, swarm)
        .nodes(&["service1", "service2"], scenarios::app)
        .foreign("rude", foreign::service1().hangs_up())
        .workers(1)
        .flags(&["--policy", "wait-for-ready=true", "--deadline", "17s"])
        .recovers_within(20_000.ms())
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .fold("while calls wait, a host is tried when its wait is over", tried_in_time)
}

/// The hosts that are left alone, until when, and how many calls wait.
#[derive(Debug, Default)]
struct LeftAlone {
    until: BTreeMap<String, Duration>,
    waiting: usize,
    /// Since when some do.
    since: Duration,
}

fn tried_in_time(left: &mut LeftAlone, event: &Event) -> Result<(), String> {
    if *event.host != *"service2" {
        return Ok(());
    }
    if event.told::<CallMade>().is_some() {
        left.since = if left.waiting == 0 { event.at } else { left.since };
        left.waiting += 1;
    }
    if event.told::<CallOutcome>().is_some() {
        left.waiting = left.waiting.saturating_sub(1);
    }
    if let Some((wait, address)) = event.field("next_try_in_ms").zip(event.field("address")) {
        let wait = wait.as_f64().unwrap_or_default() / 1e3;
        left.until.insert(address.to_string(), event.at + Duration::from_secs_f64(wait));
    }
    if let Some(begun) = event.told::<Connection>().filter(|told| told.step == ConnectionStep::Begun) {
        left.until.remove(&begun.address.to_string());
    }
    let late = left.until.iter().find(|(_, until)| event.at > left.since.max(**until) + SOON);
    match late.filter(|_| left.waiting > 0) {
        Some((address, until)) => Err(format!(
            "service2 left {address} alone until {} ms, and has not tried it at {} ms, while {} calls wait",
            until.as_millis(),
            event.at.as_millis(),
            left.waiting
        )),
        None => Ok(()),
    }
}

/// What callers want of service1.
const WAITS: &str = "service1.health-check=true;service1.wait-for-ready=true";

fn says_when(picks: &mut Picks<'_>) -> Scenario {
    let replica = |until| foreign::service1().rests(0.ms()..until);
    let load = Load::new(30, 900.ms(), 900.ms()..=1500.ms()).bursts(picks.pick("bursts", &[1, 4]));
    let first = picks.pick("the first serves after ms", &[300, 500]).ms();
    Scenario::new("waiting", "", scenarios::greetings(load), Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("one", replica(first))
        .foreign("other", replica(first + 300.ms()))
        .flags(&["--policy", WAITS, "--deadline", "2s"])
        .workers(1)
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("a call that waits for a host that serves is not lost", checks::works)
        .every_call("a call goes as soon as somebody serves", move |call| goes_soon(call, first))
}

/// Two segments there and back, and as many for the word that the first host serves.
const SOON: Duration = Duration::from_millis(150);

fn goes_soon(call: &CallRecord, first: Duration) -> Result<(), String> {
    let due = call.started.max(first) + SOON;
    match call.ended.filter(|ended| *ended > due) {
        Some(ended) => Err(format!(
            "{} was called at {} ms and had its reply at {} ms; expected it until {} ms, since a host serves from {} ms on",
            call.request_id,
            call.started.as_millis(),
            ended.as_millis(),
            due.as_millis(),
            first.as_millis()
        )),
        None => Ok(()),
    }
}
