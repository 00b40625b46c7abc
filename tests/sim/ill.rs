//! Rehearsals of a replica that is ill for a while: when it is well again it has its part of the calls.

use std::collections::BTreeMap;
use std::time::Duration;

use probe_contract::back::{self, Back};
use probe_contract::{Manner, Script, front};
use rehearse::facts::{CallMade, CallOutcome, GaugesRead, HandlerBegun, Outcome};
use rehearse::proptest::strategy::Strategy;
use rehearse::{
    Code, Event, Expect, Failed, Family, Foreign, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn,
    matching, promises,
};
use transport::gauges::Gauge;

use crate::greetings::greetings;
use crate::{checks, foreign, scenarios, worlds};

/// The scenario of a replica that fails each call, then answers none, and then all.
pub(crate) fn ill() -> sim::Scenario {
    drawn("ill", "one of two hosts of service1 fails calls, then hangs, and is well again", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let knows_few = picks.pick("the hosts know", &["all names", "few"]) == "few";
    let replica = || if knows_few { foreign::service1_that_fails(unknown) } else { foreign::service1() };
    let ill = replica()
        // It fails for as long as it takes to be found out, and hangs for as long as it is tried again.
        .falls_ill(1500.ms()..6500.ms(), foreign::ill(), 10_500.ms());
    let are_few = picks.pick("calls at a time", &["any", "two"]) == "two";
    let ill = if are_few { ill.streams_max(2) } else { ill };
    let policy = picks.pick("policy", &["attempts=3", "hedge=true"]);
    let right = Expect::ok().or(Code::Unavailable).or(Code::DeadlineExceeded).or(Code::NotFound);
    // For longer than the longest of the waits after which it may be tried again.
    let load = greetings(Load::new(160, 18_000.ms(), 400.ms()..=800.ms()), right);
    let is_hedged = policy == "hedge=true";
    // While it is ill, there may be nobody else: who is left out gets calls then, which say little of how it is.
    let is_alone = !knows_few && !is_hedged && picks.pick("the other host", &["stays", "goes"]) == "goes";
    let goes = Swarm::new(1..=2, 6000.ms(), 500.ms()..=2000.ms()).host("service1");
    let swarm = if is_alone { goes.only(&[Family::Kill, Family::PowerLoss]) } else { Swarm::calm() };
    let scenario =
        Scenario::new("ill", "", load, swarm).nodes(&["service2"], scenarios::app).foreign("ill", ill);
    // Where one host takes longer than the other, most calls and half of them take different times.
    let is_slow = is_hedged && !are_few;
    let takes = if is_slow { 60.ms() } else { 0.ms() };
    let scenario = match knows_few {
        true => scenario.foreign("service1", replica().takes(takes)),
        false => scenario.nodes(&["service1"], scenarios::app),
    };
    scenario
        .workers(1)
        .flags(&["--policy", policy])
        // That it hangs is no fault of the plan, which would explain that calls are late.
        .promises(
            promises::of_calls().except(promises::REPLICAS_SHARE).except(promises::STATUSES_ARE_EXPLAINED),
        )
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("who is well again is not left out", |_: &mut (), event| nobody_is_left_out(event))
        .fold("a call that hangs is made elsewhere, too, where it may be", move |calls: &mut Calls, event| {
            if is_hedged { hangs_beside_another(calls, event) } else { Ok(()) }
        })
}

/// The scenario of a replica that refuses each stream, or breaks it when it has begun: it is left out, as one that fails other
/// calls.
pub(crate) fn refusing() -> sim::Scenario {
    drawn("refusing", "one of two hosts of back refuses each stream, or breaks it", refused)
}

fn refused(picks: &mut Picks<'_>) -> Scenario {
    let right = Expect::ok().or(Code::Unavailable);
    let load = Load::new(160, 12_000.ms(), 400.ms()..=800.ms()).rpc::<front::Play>(Via::Grpc, shows(), right);
    let ill = match picks.pick("streams", &["do not begin", "break"]) {
        "break" => foreign::ill().after_answer(),
        _ => foreign::ill(),
    };
    let ill = Foreign::of::<Back>().refuse::<back::Show>(ill);
    // A new connection says nothing for who is at its other end.
    let ill = match picks.pick("its connections take", &["all streams", "one"]) {
        "one" => ill.calls_max(1),
        _ => ill,
    };
    edge(Scenario::new("refusing", "", load, Swarm::calm()))
        .node("back", &["back"], worlds::app(1000.ms()))
        .foreign("ill", ill)
        .flags(&["--policy", "attempts=1"])
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .fold("who refuses or breaks stream after stream is ejected", ejected_in_time)
}

/// What is shown from one hop further on.
fn shows() -> impl Strategy<Value = Script> {
    matching("[a-z]{4,8}").prop_map(|text| Script {
        text,
        hops: 1,
        manner: Manner::Show.into(),
        scenes: 2,
        ..Script::default()
    })
}

/// The node that asks for it.
fn edge(scenario: Scenario) -> Scenario {
    worlds::hosted(scenario, &[("edge", &["front", "middle"])]).workers(1)
}

/// After so many in a row a replica is ejected. More may be on their way by then.
const IN_A_ROW: u32 = 5;
const ON_THEIR_WAY: u32 = 3;

fn ejected_in_time(refused: &mut u32, event: &Event) -> Result<(), String> {
    let is_of_back = |ended: &&CallOutcome| ended.callee == "back";
    if let Some(CallOutcome { outcome: Outcome::Said(Code::Unavailable), .. }) =
        event.told::<CallOutcome>().filter(is_of_back)
    {
        *refused += 1;
    }
    if event.field("ejected_for_ms").is_some() {
        *refused = 0;
    }
    if *refused <= IN_A_ROW + ON_THEIR_WAY {
        return Ok(());
    }
    Err(format!(
        "{refused} streams were refused or broken since it was ejected last, if it ever was; expected that it is after {IN_A_ROW} in a \
         row: {event}"
    ))
}

/// The scenario of a replica that takes longer for a while, beside one that fails half of the calls: what fails beside a call that is
/// under way ends nothing.
pub(crate) fn beside() -> Scenario {
    let right = Expect::ok().or(Code::Unavailable);
    let load = greetings(Load::new(160, 3000.ms(), 1500.ms()..=2000.ms()), right);
    let slow =
        Swarm::new(2..=3, 2500.ms(), 300.ms()..=600.ms()).host("service1").only(&[Family::SlowHandler]);
    let about =
        "one of two hosts of service1 takes longer for a while, and the other fails half of the calls";
    scenarios::two_nodes("beside", about, load, slow, scenarios::ADMITTED)
        .foreign("picky", foreign::service1_that_fails(half))
        .flags(&["--policy", "hedge=true"])
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
}

/// Names that are not answered now, half of all.
fn half(name: &str) -> Option<Failed> {
    name.starts_with(|first| first < 'n').then(foreign::ill)
}

/// The scenario of clients that leave while a replica hangs: what they have left there is no load any more when it is well again.
pub(crate) fn left() -> Scenario {
    let load = Load::new(140, 90_000.ms(), 200.ms()..=400.ms()).bursts(14).without_timeouts();
    let about = "clients leave while one of two hosts of service1 hangs: it has its part of the calls when it is well again";
    Scenario::new("left", about, greetings(load, Expect::ok()), Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("sound", foreign::service1().takes(30.ms()))
        .foreign(
            "ill",
            foreign::service1().takes(30.ms()).falls_ill(0.ms()..0.ms(), foreign::ill(), HANGS_UNTIL),
        )
        .workers(1)
        .flags(&["--deadline", "20s"])
        // That it hangs is no fault of the plan, which would explain that clients leave.
        .promises(
            promises::of_calls().except(promises::REPLICAS_SHARE).except(promises::STATUSES_ARE_EXPLAINED),
        )
        .recovers_within(20_000.ms())
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("who is well again has its part of the calls", has_its_part)
}

const HANGS_UNTIL: Duration = Duration::from_secs(25);

/// As long as what a host once took is remembered, and more.
const FORGOTTEN_FROM: Duration = Duration::from_secs(65);

/// Of so many calls, one in so many is the least that each of two hosts is to get.
const FEWEST: usize = 20;
const PART: usize = 5;

fn has_its_part(handled: &mut BTreeMap<String, usize>, event: &Event) -> Result<(), String> {
    let is_late_enough = event.at > FORGOTTEN_FROM;
    if event.told::<HandlerBegun>().is_some_and(|begun| is_late_enough && begun.service == "service1") {
        *handled.entry(event.host.to_string()).or_default() += 1;
    }
    let all: usize = handled.values().sum();
    let few = handled.values().min().copied().filter(|_| handled.len() > 1).unwrap_or_default();
    if all < FEWEST || few * PART >= all {
        return Ok(());
    }
    Err(format!(
        "of {all} calls to service1 after {} s each of its two hosts has got {handled:?}; expected one in {PART} at least, for \
         both have answered all for long: {event}",
        FORGOTTEN_FROM.as_secs()
    ))
}

/// The scenario of a callee that begins no stream for a while: its caller's breaker opens, as it does when calls are late.
pub(crate) fn unbegun() -> Scenario {
    let right = Expect::ok().or(Code::NotFound).or(Code::Unavailable).or(Code::DeadlineExceeded);
    // What a stream may take to begin is less than what its call has.
    let load = Load::new(60, 6000.ms(), 1500.ms()..=2500.ms()).rpc::<front::Play>(Via::Grpc, shows(), right);
    let mute = Foreign::of::<Back>().refuse::<back::Show>(Failed::new(Code::NotFound, "nothing is shown"));
    let mute = mute.falls_ill(0.ms()..0.ms(), foreign::ill(), 6500.ms());
    let about = "the only host of back begins no stream for a while";
    edge(Scenario::new("unbegun", about, load, Swarm::calm()))
        .foreign("mute", mute)
        .flags(&["--policy", "back.deadline=200ms;breaker=3;attempts=1"])
        // That it says nothing is no fault of the plan, which would explain it.
        .promises(promises::of_calls().except(promises::STATUSES_ARE_EXPLAINED))
        .fold("who begins no stream is left alone", left_alone_in_time)
}

/// Three are late when a breaker opens, and in the time that they have, so many more may have come.
const UNBEGUN: u32 = 12;

fn left_alone_in_time(begun: &mut u32, event: &Event) -> Result<(), String> {
    if event.field("breaker").is_some() {
        *begun = 0;
    }
    *begun += u32::from(event.told::<HandlerBegun>().is_some_and(|begun| begun.service == "back"));
    if *begun <= UNBEGUN {
        return Ok(());
    }
    Err(format!(
        "{begun} streams have come to a host that begins none since the breaker of its callers has changed, if it ever has; \
         expected that it opens after three: {event}"
    ))
}

/// From so many calls on it is known what is usual, and what takes so many times as long hangs.
const KNOWN_FROM: usize = 24;
const HANGS: u32 = 3;

/// Ten tokens at first, more than half of which are to be left when an attempt has taken one; a call that works earns a tenth.
const TOKENS: i32 = 10 * TOKEN;
const TOKEN: i32 = 10;

/// The calls to service1.
#[derive(Debug, Default)]
struct Calls {
    /// What they have earned and taken of the budget for further attempts, in tenths of a token: no less than that is left.
    earned: i32,
    /// When the first attempt of each was made that is under way, and how many were made.
    going: BTreeMap<u32, (Duration, u32)>,
    /// The number of the call of each attempt.
    call_of: BTreeMap<u32, u32>,
    /// What those took that worked.
    took: Vec<Duration>,
}

fn hangs_beside_another(calls: &mut Calls, event: &Event) -> Result<(), String> {
    let Calls { earned, going, call_of, took } = calls;
    if let Some(made) = event.told::<CallMade>() {
        going.entry(made.call).or_insert((event.at, 0)).1 += 1;
        call_of.insert(made.hop, made.call);
        *earned -= if made.attempt > 0 { TOKEN } else { 0 };
    }
    let Some(ended) = event.told::<CallOutcome>() else { return Ok(()) };
    let Some((began, attempts)) = call_of.remove(&ended.hop).and_then(|call| going.remove(&call)) else {
        return Ok(());
    };
    let is_paid = TOKENS + *earned > TOKENS / 2 + 2 * TOKEN;
    *earned += if ended.outcome == Outcome::Ok { 1 } else { -TOKEN };
    let longest = took.iter().max().copied().unwrap_or_default();
    if ended.outcome == Outcome::Ok {
        took.push(event.at - began);
    }
    if !is_paid || took.len() < KNOWN_FROM || attempts > 1 || event.at - began <= longest * HANGS {
        return Ok(());
    }
    Err(format!(
        "an attempt was under way for {} ms, and all that had worked before took {} ms at most; expected another beside it, \
         as the policy of service1 says: {event}",
        (event.at - began).as_millis(),
        longest.as_millis()
    ))
}

/// What a host says of names that it does not know: half of them.
fn unknown(name: &str) -> Option<Failed> {
    name.starts_with(|first| first < 'n').then(|| Failed::new(Code::NotFound, "nobody has this name"))
}

/// Gauges are told when all has settled, long after the replica was well again.
fn nobody_is_left_out(event: &Event) -> Result<(), String> {
    let ejected =
        |GaugesRead(reading): &GaugesRead| reading.count(Gauge::CalleeAddresses, "service1", "ejected");
    match event.told().map(ejected) {
        Some(ejected) if ejected > 0 => Err(format!(
            "{} still leaves {ejected} of the two hosts of service1 out; expected none: it has answered for seconds, and \
             who is left out is tried again",
            event.host
        )),
        _ => Ok(()),
    }
}
