//! Rehearsals of time: streams that say nothing for long, and calls that have too little of it.

use std::collections::BTreeMap;
use std::time::Duration;

use probe_contract::{Script, back, front};
use rehearse::facts::{HandlerBegun, HandlerEnded};
use rehearse::promises::OfCalls;
use rehearse::proptest::prelude::*;
use rehearse::{
    CLIENTS, CallRecord, Code, Event, Expect, Family, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via,
    Wants, drawn, matching, promises,
};

use crate::bytes::BytesOfAnswers;
use crate::worlds;

/// The longest that a call is on its way to the node, and how many may be.
const WAY: Duration = Duration::from_millis(10);
const UNDER_WAY: usize = 3;

/// What the calls of [`short`] take, what those have at most that have too little, and at least that have more than enough.
const TAKES: Duration = Duration::from_millis(40);
const SHORT: Duration = Duration::from_millis(30);
const PLENTY: Duration = Duration::from_millis(100);

/// From so many answers on it is known what is usual, and one of so many calls is let in all the same.
const KNOWN_FROM: usize = 40;
const LET_IN: usize = 8;

/// The scenario of streams with long pauses: nobody takes one that has nothing to say for one that is not read.
pub(crate) fn quiet() -> Scenario {
    let scripts = (matching("[a-z]{4,8}"), 31_000..=32_000_u32, 0..=1_u32);
    let scripts = scripts.prop_map(|(text, pause_ms, hops)| Script {
        text,
        pause_ms,
        hops,
        scenes: 2,
        ..Script::default()
    });
    let load = Load::new(3, 1000.ms(), 35_000.ms()..=36_000.ms());
    let load =
        load.watch::<back::Show>(scripts.clone(), Expect::ok()).watch::<front::Show>(scripts, Expect::ok());
    let scenario =
        Scenario::new("quiet", "streams say nothing for half a minute and more", load, Swarm::calm());
    // Each of two sorts of stream must work twice when all is over, which takes as long as it does.
    two(scenario, promises::of_calls()).recovers_within(80_000.ms())
}

/// The scenario of callers with all the time there is: more than fits into the eight digits that gRPC has for it, in the unit
/// that is used for less.
pub(crate) fn unhurried() -> sim::Scenario {
    drawn("unhurried", "calls may take for minutes or for days, and do not", unhurried_world)
}

fn unhurried_world(picks: &mut Picks<'_>) -> Scenario {
    let scripts = || {
        let script = (matching("[a-z]{4,8}"), 0..=2_u32);
        script.prop_map(|(text, hops)| Script { text, hops, ..Script::default() })
    };
    let load = Load::new(40, 300.ms(), 800.ms()..=1500.ms()).without_timeouts();
    let load = load.rpc::<front::Play>(Via::Rest, scripts(), Expect::ok()).rpc::<front::Play>(
        Via::Grpc,
        scripts(),
        Expect::ok(),
    );
    let deadline = picks.pick("deadline", &["200h", "150s"]);
    let scenario = Scenario::new("unhurried", "", load, Swarm::calm()).flags(&["--deadline", deadline]);
    // A deadline in seconds is some of a second shorter on each hop.
    let promises = promises::of_calls().except(promises::DEADLINES_ARE_MOMENTS);
    two(scenario, promises).every_call("who has time has an answer", works)
}

fn works(call: &CallRecord) -> Result<(), String> {
    match &call.reply {
        Some(reply) if !reply.is_ok() => Err(format!("{} got {reply:?}", call.request_id)),
        _ => Ok(()),
    }
}

/// The scenario of callers with less time than their calls take.
pub(crate) fn short() -> sim::Scenario {
    drawn("short", "callers give their calls less time than these take", short_world)
}

fn short_world(picks: &mut Picks<'_>) -> Scenario {
    // What fails at once says nothing of what calls take that work.
    let failing = picks.pick("fail at once, of four", &[0_u32, 2]);
    let scripts = (matching("[a-z]{4,8}"), 0..4_u32).prop_map(move |(text, nth)| match nth < failing {
        true => Script { text, code: Code::NotFound as u32, message: "gone".to_owned(), ..Script::default() },
        false => Script { text, wait_ms: 40, ..Script::default() },
    });
    let right = Expect::ok()
        .or(Code::DeadlineExceeded)
        .or_as_asked(|script: &Script| (script.code != 0).then_some(Code::NotFound));
    let load = Load::new(200, 4000.ms(), 15.ms()..=100.ms()).rpc::<back::Play>(Via::Grpc, scripts, right);
    let scenario = Scenario::new("short", "", load, Swarm::calm()).flags(&["--shed-by-deadline", "on"]);
    two(scenario, promises::of_calls()).invariant(Sheds::default)
}

/// The scenario of callers most of whom give their calls less time than these take, to one of two hosts.
pub(crate) fn hasty() -> Scenario {
    let little = prop_oneof![5 => 20..=50_u32, 1 => Just(0)];
    let scripts = (matching("[a-z]{4,8}"), little).prop_map(|(text, within_ms)| Script {
        text,
        within_ms,
        hops: 1,
        wait_ms: 60,
        ..Script::default()
    });
    let is_asked = |script: &Script| (script.within_ms > 0).then_some(Code::DeadlineExceeded);
    let right = Expect::ok().or_as_asked(is_asked);
    let load = Load::new(120, 3000.ms(), 450.ms()..=900.ms()).rpc::<front::Play>(Via::Grpc, scripts, right);
    let about = "a service gives most of its calls less time than these take";
    // Few calls work.
    let promises = promises::of_calls().except(promises::REPLICAS_SHARE);
    let scenario = two(Scenario::new("hasty", about, load, Swarm::calm()), promises);
    scenario.node("spare", &["middle", "back"], worlds::app(1000.ms()))
}

/// The scenario of clients that leave before they have their answers, and say to nobody how long they stay.
pub(crate) fn gone() -> Scenario {
    leaving("gone", "clients leave before they have their answers", Swarm::calm())
}

/// The same, where connections of clients are reset: nobody takes a client for one that has only said all then.
pub(crate) fn torn() -> Scenario {
    let swarm = Swarm::new(2..=5, 3500.ms(), 10.ms()..=20.ms()).link(CLIENTS, "edge").link(CLIENTS, "inner");
    leaving("torn", "connections of clients are reset under calls that last", swarm.only(&[Family::Reset]))
}

fn leaving(name: &str, about: &str, swarm: Swarm) -> Scenario {
    let scripts = (matching("[a-z]{4,8}"), 1200..=2500_u32, 0..=2_u32);
    let scripts = scripts
        .prop_map(|(text, wait_ms, hops)| Script { text, wait_ms, hops, ..Script::default() })
        .sboxed();
    let load = Load::new(24, 3000.ms(), 100.ms()..=4000.ms()).bursts(3).without_timeouts();
    let load = load
        .rpc::<front::Play>(Via::Rest, scripts.clone(), Expect::ok())
        .rpc::<front::Play>(Via::Grpc, scripts.clone(), Expect::ok())
        .rpc::<back::Play>(Via::Rest, scripts, Expect::ok());
    let scenario = Scenario::new(name, about, load, swarm).flags(&["--deadline", "20s"]);
    two(scenario, promises::of_calls().enough(3500.ms())).recovers_within(20_000.ms())
}

/// The scenario of clients that leave streams on which nothing more is said for long: what says nothing ends with them, too.
pub(crate) fn hushed() -> Scenario {
    let scripts = (matching("[a-z]{4,8}"), 0..=1_u32);
    let scripts = scripts
        .prop_map(|(text, hops)| Script { text, hops, pause_ms: 600_000, scenes: 2, ..Script::default() })
        .sboxed();
    let load = Load::new(16, 1500.ms(), 100.ms()..=800.ms()).without_timeouts();
    let load =
        load.watch::<front::Show>(scripts.clone(), Expect::ok()).watch::<back::Show>(scripts, Expect::ok());
    let about = "clients leave streams on which nothing more is said";
    let scenario = Scenario::new("hushed", about, load, Swarm::calm());
    two(scenario, promises::of_calls()).recovers_within(20_000.ms())
}

/// The scenario of streams of which a service may have few under way: each counts until it has ended.
pub(crate) fn few() -> Scenario {
    let scripts = (matching("[a-z]{4,8}"), 50..=150_u32);
    let scripts =
        scripts.prop_map(|(text, pause_ms)| Script { text, pause_ms, scenes: 3, ..Script::default() });
    let load = Load::new(40, 1500.ms(), 800.ms()..=1500.ms()).watch::<front::Show>(scripts, Expect::ok());
    let about = "a service may have few calls under way, and streams last";
    let scenario = Scenario::new("few", about, load, Swarm::calm()).flags(&["--policy", "max-in-flight=3"]);
    two(scenario, promises::of_calls())
}

/// The scenario of clients that read nothing of what they are shown.
pub(crate) fn unread() -> Scenario {
    let scripts = (matching("[a-z]{4,8}"), 0..=1_u32, 0..=40_u32).prop_map(|(text, hops, pause_ms)| Script {
        text,
        pause_ms,
        hops,
        scenes: 6,
        answer_bytes: 150_000,
        ..Script::default()
    });
    let load = Load::new(3, 1000.ms(), 34_000.ms()..=40_000.ms()).without_timeouts();
    let load = load.watch_unread::<back::Show>(scripts);
    let about = "clients read nothing of what they are shown";
    let scenario = Scenario::new("unread", about, load, Swarm::calm());
    two(scenario, promises::of_calls())
        .recovers_within(90_000.ms())
        .invariant(GivenUp::default)
        .invariant(MadeAsRead::default)
}

/// The scenario of clients that read what they are shown slowly, for longer than one may stand still that reads nothing.
pub(crate) fn slowly() -> Scenario {
    let scripts = (matching("[a-z]{4,8}"), 0..=1_u32).prop_map(|(text, hops)| Script {
        text,
        hops,
        scenes: 6,
        answer_bytes: 40_000,
        ..Script::default()
    });
    let load = Load::new(1, 1000.ms(), 170_000.ms()..=180_000.ms()).without_timeouts();
    let load = load.watch_slowly::<back::Show>(3000.ms(), scripts);
    let about = "clients read slowly what they are shown";
    let scenario = Scenario::new("slowly", about, load, Swarm::calm());
    two(scenario, promises::of_calls())
        .recovers_within(900_000.ms())
        .every_call("who reads slowly is shown all", shown_all)
        .invariant(BytesOfAnswers::default)
}

/// The last message of what is shown says that it is.
fn shown_all(call: &CallRecord) -> Result<(), String> {
    let last = call.reply.as_ref().map_or("", |reply| &reply.value);
    let is_all = call.request.kind != SHOW || last.contains("\"isLast\":true");
    let begin: String = last.chars().take(20).collect();
    if is_all {
        Ok(())
    } else {
        Err(format!("{}: the last that it read begins with {begin:?}", call.request_id))
    }
}

/// What is watched, as plans name it.
const SHOW: &str = "back/Show";

fn two(scenario: Scenario, promises: OfCalls) -> Scenario {
    let nodes: [(&str, &[&str]); 2] = [("edge", &["front"]), ("inner", &["middle", "back"])];
    worlds::hosted(scenario, &nodes).workers(1).promises(promises)
}

/// What nobody reads is given up after half a minute.
#[derive(Debug, Default)]
struct GivenUp {
    begun: BTreeMap<u32, Duration>,
    met: u64,
}

/// How long an answer waits for its client to read on, and what it takes until it waits.
const UNREAD_MAX: Duration = Duration::from_secs(30);
const FULL_WITHIN: Duration = Duration::from_secs(1);

impl Invariant for GivenUp {
    fn name(&self) -> &str {
        "an answer that nobody reads is given up after half a minute"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<HandlerBegun>().fact::<HandlerEnded>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(request) = event.request else { return Ok(()) };
        if event.told::<HandlerBegun>().is_some() {
            self.begun.insert(request, event.at);
            return Ok(());
        }
        let Some(begun) = self.begun.remove(&request) else { return Ok(()) };
        self.met += 1;
        let took = event.at - begun;
        if took <= UNREAD_MAX + FULL_WITHIN {
            return Ok(());
        }
        Err(format!("it was shown to a client that reads nothing for {} ms: {event}", took.as_millis()))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// What nobody reads is not made in advance. Three messages are made at most: HTTP/2 has begun to send the first, the second waits
/// in the stream, and the third is in the hands of who makes it.
#[derive(Debug, Default)]
struct MadeAsRead {
    met: u64,
}

const MADE_MAX: u64 = 3;

impl Invariant for MadeAsRead {
    fn name(&self) -> &str {
        "what nobody reads is not made in advance"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let made = event.field("made").and_then(rehearse::Value::as_u64);
        let Some(made) = made else { return Ok(()) };
        self.met += 1;
        match made <= MADE_MAX {
            true => Ok(()),
            false => Err(format!("its client reads nothing; expected {MADE_MAX} messages at most: {event}")),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// When it is known what calls take, of those that have less time only one in eight is handled.
#[derive(Debug, Default)]
struct Sheds {
    answered: usize,
    /// How many calls came since one was handled that had less time than calls take.
    shut_out: usize,
    /// How many calls came since that had too little time, and how many of them were handled.
    came: usize,
    handled: usize,
}

impl Invariant for Sheds {
    fn name(&self) -> &str {
        "of calls with less time than they take one in eight is taken on, and the others are refused at once"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<HandlerBegun>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        // Some of what it has goes by on its way.
        let has_little = call.request.deadline < SHORT * 2;
        self.came += usize::from(self.answered >= KNOWN_FROM && has_little);
        // Enough to arrive, and too little to be answered.
        let is_short = (SHORT - WAY..TAKES).contains(&call.request.deadline);
        self.shut_out += usize::from(self.answered >= KNOWN_FROM && is_short);
        if self.shut_out <= 2 * LET_IN + UNDER_WAY {
            return Ok(());
        }
        Err(format!(
            "{} calls have come that had less time than calls take, and none of them was handled; expected one of {LET_IN}, \
             to see whether they have become quicker",
            self.shut_out
        ))
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let is_ok = call.reply.as_ref().is_some_and(rehearse::Reply::is_ok);
        self.answered += usize::from(is_ok);
        let took = call.ended.unwrap_or_default().saturating_sub(call.started);
        let has_failed = call.reply.as_ref().is_some_and(|reply| reply.status == "NOT_FOUND");
        if is_ok || has_failed || took >= TAKES || call.request.deadline < PLENTY {
            return Ok(());
        }
        Err(format!(
            "{} had {} ms, and was refused after {} ms; calls take {} ms",
            call.request_id,
            call.request.deadline.as_millis(),
            took.as_millis(),
            TAKES.as_millis()
        ))
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told().is_some_and(|begun: &HandlerBegun| begun.left.is_some_and(|left| left < TAKES)) {
            self.shut_out = 0;
        }
        let has_little = |begun: &HandlerBegun| begun.left.is_some_and(|left| left < SHORT);
        if self.answered < KNOWN_FROM || !event.told().is_some_and(has_little) {
            return Ok(());
        }
        self.handled += 1;
        if self.handled * LET_IN <= self.came + 2 * LET_IN {
            return Ok(());
        }
        Err(format!(
            "{} calls with less than {} ms left were handled, of {} that may have had so little, and they take {} ms; \
             expected one of {LET_IN}: {event}",
            self.handled,
            SHORT.as_millis(),
            self.came,
            TAKES.as_millis()
        ))
    }

    fn met(&self) -> u64 {
        self.came as u64
    }
}
