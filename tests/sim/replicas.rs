//! Rehearsals of replicas of which one fails and one is slow: who is sound gets the calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service1::{ProcessName, Service1};
use protos::app::grpc::service2::SayHello;
use rehearse::facts::{CallOutcome, HandlerBegun, Outcome};
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{
    CallRecord, Code, Event, Expect, Failed, Foreign, Invariant, Load, Ms as _, Phase, Picks, Scenario,
    Swarm, Via, Wants, What, drawn, matching, promises,
};

use crate::{checks, foreign, scenarios};

/// So many failures in a row make a replica an outlier, and so many calls may be under way to it until they are known, for
/// each that come together.
const FOUND_OUT_AFTER: usize = 5;
const UNDER_WAY: usize = 8;

/// The shortest waits after which a call tries an outlier again, each counted from the one before.
const TRIED_AFTER_MS: [u64; 6] = [800, 1280, 2048, 3276, 5242, 8388];

/// The scenario of a replica that fails at once, and another that is slow.
pub(crate) fn replicas() -> sim::Scenario {
    drawn("replicas", "of three hosts of service1 one fails each call at once, and one is slow", world)
}

fn failing() -> Foreign {
    let message = "nobody is behind it".to_owned();
    let failed = Failed::new(Code::Unavailable, message);
    Foreign::of::<Service1>().answer::<ProcessName>(move |_| Err(failed.clone()))
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let slow = foreign::service1().takes(250.ms());
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let right = || Expect::ok().or(Code::Unavailable);
    let bursts = picks.pick("bursts", &[1, 4]);
    let others = picks.pick("the others", &["answer", "fail, too", "but one fail, too"]);
    let goes_away = picks.pick("calls of a connection", &["any", "three"]) == "three";
    // Who fails is asked once a second or so, and left out after five failures.
    let (calls, over) = if goes_away || others == "but one fail, too" { (130, 12_000) } else { (100, 5000) };
    let load = Load::new(calls, over.ms(), 400.ms()..=800.ms())
        .bursts(bursts)
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    let scenario = Scenario::new("replicas", "", load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("failing", if goes_away { failing().calls_max(3) } else { failing() });
    let scenario = match others {
        "answer" => {
            let scenario = scenario.foreign("slow", slow).nodes(&["service1"], scenarios::app);
            match bursts {
                1 if !goes_away => scenario.invariant(NoneFails::default),
                _ => scenario,
            }
        }
        "but one fail, too" => scenario
            .foreign("failing2", failing())
            .foreign("failing3", failing())
            .nodes(&["service1"], scenarios::app),
        _ => scenario.foreign("failing2", failing()).foreign("failing3", failing()),
    };
    let all = promises::of_calls().except(promises::REPLICAS_SHARE);
    scenario
        .workers(1)
        .promises(if goes_away { all.except(promises::ONE_CONNECTION) } else { all })
        .every_call("every reply belongs to its request", checks::right_value)
        .fold("where all fail, calls still go out", calls_go_out)
        .fold("who fails call after call is found out, and who is slow is asked less", move |calls, event| {
            // Of calls that come together, some are answered sooner where it takes longer.
            sound_ones_take_calls(calls, event, bursts)
        })
}

/// What the one client of a host may spend on further attempts.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// In thousandths of a token, as far as they are not all there.
    spent: u32,
    /// The calls of which an attempt failed when too little was left.
    unpaid: BTreeSet<u32>,
}

/// Of ten tokens, more than half must be left.
const PAYS: u32 = 5000;

impl Tokens {
    /// Takes note of an attempt that has ended, if it has; it may be repeated after these failures.
    pub(crate) fn note(&mut self, event: &Event, failures: &[Outcome]) {
        match event.told::<CallOutcome>().map(|ended| ended.outcome) {
            Some(outcome) if failures.contains(&outcome) => {
                self.spent = (self.spent + 1000).min(2 * PAYS);
                self.unpaid.extend(event.request.filter(|_| self.spent >= PAYS));
            }
            Some(_) => self.spent = self.spent.saturating_sub(100),
            None => {}
        }
    }

    /// Whether another attempt of `call` was paid for, so far.
    pub(crate) fn has_paid(&mut self, call: &CallRecord) -> bool {
        !self.unpaid.remove(&call.request.id)
    }
}

/// No call fails while the budget of service2 pays for another attempt.
#[derive(Debug, Default)]
struct NoneFails {
    tokens: Tokens,
    met: u64,
}

impl Invariant for NoneFails {
    fn name(&self) -> &str {
        "no call fails, for there are two that answer"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.tokens.note(event, &[Outcome::Said(Code::Unavailable)]);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        if !self.tokens.has_paid(call) {
            return Ok(());
        }
        self.met += 1;
        checks::works(call)
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The scenario of a client whose first calls go out before it knows anything: half of them to a replica that fails each.
pub(crate) fn cold() -> sim::Scenario {
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    // Of those between services, which are called again.
    let right = || Expect::ok().or(Code::Unavailable);
    let load = Load::new(200, 200.ms(), 600.ms()..=1500.ms())
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    Scenario::new(
        "cold",
        "of two hosts of service1 one fails each call, from the first on",
        load,
        Swarm::calm(),
    )
    .nodes(&["service2"], scenarios::app)
    .foreign("failing", failing())
    .foreign("sound", foreign::service1())
    .workers(1)
    .tick(1.ms())
    .latency_max(1.ms())
    .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
    .every_call("every reply belongs to its request", checks::right_value)
    .every_call("no call fails, for there is one that answers", checks::works)
    .into()
}

/// The scenario of a replica that takes longer than the others, and of calls that come one at a time: only what calls took can
/// tell who is quick.
pub(crate) fn uneven() -> sim::Scenario {
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let load = Load::new(100, 30_000.ms(), 600.ms()..=900.ms());
    Scenario::new(
        "uneven",
        "of three hosts of service1 one takes longer, and calls come one at a time",
        load.rpc::<SayHello>(Via::Grpc, requests(), Expect::ok()),
        Swarm::calm(),
    )
    .nodes(&["service2", "service1"], scenarios::app)
    .foreign("quick", foreign::service1())
    .foreign("slow", foreign::service1().takes(120.ms()))
    .workers(1)
    .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
    .every_call("every reply belongs to its request", checks::right_value)
    .every_call("every call works", checks::works)
    .fold("who takes longer is asked now and then", asked_now_and_then)
    .into()
}

/// The scenario of a replica that fails some of its calls, and is quicker than the other: who fails at once does not look quick.
pub(crate) fn wavering() -> sim::Scenario {
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let right =
        || Expect::ok().or_as_asked::<SayHelloRequest>(|asked| fails(&asked.name).map(|said| said.code()));
    let load = Load::new(100, 30_000.ms(), 600.ms()..=900.ms()).in_flight_max(1);
    Scenario::new(
        "wavering",
        "of two hosts of service1 one is quicker, and fails some of its calls at once",
        load.rpc::<SayHello>(Via::Grpc, requests(), right()),
        Swarm::calm(),
    )
    .nodes(&["service2"], scenarios::app)
    .foreign("wavering", foreign::service1_that_fails(fails))
    .foreign("slow", foreign::service1().takes(60.ms()))
    .workers(1)
    .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
    .every_call("every reply belongs to its request", checks::right_value)
    .fold("who has just failed is not asked, for there is another", not_asked_just_then)
    .into()
}

fn fails(name: &str) -> Option<Failed> {
    (name < "k").then(foreign::ill)
}

/// After a failure an endpoint counts as slow for a second; a call may be on its way to it when it fails.
fn not_asked_just_then(failed: &mut Option<Duration>, event: &Event) -> Result<(), String> {
    if event.told::<CallOutcome>().is_some_and(|ended| ended.outcome == Outcome::Said(Code::Unavailable)) {
        *failed = Some(event.at);
    }
    let is_asked = event.told::<HandlerBegun>().is_some() && &*event.host == "wavering";
    let Some(ago) = failed.filter(|_| is_asked).map(|failed| event.at - failed) else { return Ok(()) };
    match (100.ms()..700.ms()).contains(&ago) {
        true => Err(format!(
            "it has failed {} ms ago, and is asked again; expected that the other host is, though that is slower",
            ago.as_millis()
        )),
        false => Ok(()),
    }
}

/// How many calls came to the host that takes longer, of all.
#[derive(Debug, Default)]
struct Asked {
    slow: u32,
    all: u32,
}

/// What a call takes is forgotten within some ten seconds, and what is less than twice as long is as good.
fn asked_now_and_then(asked: &mut Asked, event: &Event) -> Result<(), String> {
    if event.what == What::Phase(Phase::Healed) && asked.slow < 2 {
        return Err(format!("the host that takes longer was asked {} times in half a minute", asked.slow));
    }
    if event.told::<HandlerBegun>().is_none_or(|begun| begun.service != "service1") {
        return Ok(());
    }
    asked.all += 1;
    asked.slow += u32::from(&*event.host == "slow");
    let (slow, all, most) = (asked.slow, asked.all, 4 + event.at.as_secs() / 3);
    if u64::from(slow) <= most {
        return Ok(());
    }
    Err(format!("{slow} of {all} calls came to the host that takes longer; expected {most} at most by then"))
}

fn calls_go_out(_: &mut (), event: &Event) -> Result<(), String> {
    match event.told::<CallOutcome>() {
        Some(ended) if ended.outcome == Outcome::NotSent => {
            Err("a call was not sent, and there are three hosts".to_owned())
        }
        _ => Ok(()),
    }
}

/// How many calls came to each host of service1, and when the one that fails was left out first.
#[derive(Debug, Default)]
struct Calls {
    left_out: Option<Duration>,
    calls: BTreeMap<Arc<str>, usize>,
}

/// The slow one may have a quarter of all calls, or half of them where they come together.
fn sound_ones_take_calls(calls: &mut Calls, event: &Event, bursts: u64) -> Result<(), String> {
    let (share, under_way) = if bursts == 1 { (4, UNDER_WAY) } else { (2, UNDER_WAY * 2) };
    if event.field("ejected_for_ms").is_some() {
        calls.left_out.get_or_insert(event.at);
    }
    if event.told::<HandlerBegun>().is_none_or(|begun| begun.service != "service1") {
        return Ok(());
    }
    *calls.calls.entry(Arc::clone(&event.host)).or_default() += 1;
    let of = |host: &str| calls.calls.get(host).copied().unwrap_or_default();
    let trials = calls.left_out.map_or(0, |since| trials_within(event.at - since));
    let most = FOUND_OUT_AFTER + under_way + trials;
    if calls.calls.contains_key("failing2") || calls.calls.contains_key("failing3") {
        return Ok(());
    }
    let (failing, slow, all) = (of("failing"), of("slow"), calls.calls.values().sum::<usize>());
    if failing > most {
        return Err(format!(
            "{failing} of {all} calls went to the host that fails each; expected {most} at most"
        ));
    }
    let most = FOUND_OUT_AFTER + UNDER_WAY + all / share;
    if slow > most {
        return Err(format!("{slow} of {all} calls went to the host that is slow; expected {most} at most"));
    }
    Ok(())
}

/// How many calls may have tried the outlier in this time.
fn trials_within(time: Duration) -> usize {
    let tried_at = TRIED_AFTER_MS.iter().scan(Duration::ZERO, |at, wait| {
        *at += Duration::from_millis(*wait);
        Some(*at)
    });
    tried_at.take_while(|at| *at <= time).count()
}
