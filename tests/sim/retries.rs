//! Calls that are repeated and hedged: a callee dies, is slow, refuses, or pushes back, and its callers make the best of it
//! without making it worse.

use std::collections::BTreeMap;
use std::time::Duration;

use probe_contract::{Script, front, middle};
use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service2::SayHello;
use rehearse::facts::CallMade;
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Code, Event, Expect, Failed, Family, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via,
    Wants, drawn, matching, promises,
};

use crate::{checks, foreign, scenarios, scripts, worlds};

/// What a healthy call may take here: up to three hops.
const ENOUGH: Duration = Duration::from_millis(400);

/// The services of the node in front, from the plainest: those that it has itself it calls in memory.
const EDGES: [(&str, &[&str]); 2] =
    [("two", &["service2", "front"]), ("three", &["service2", "front", "middle"])];

/// Replicas of the others, so that there is somewhere else to go.
const NODES: [(&str, &[&str]); 4] = [
    ("inner", &["service1", "middle"]),
    ("spare", &["service1", "middle"]),
    ("last1", &["back"]),
    ("last2", &["back"]),
];

/// The scenario of callees that die, are slow, or refuse calls.
pub(crate) fn retries() -> sim::Scenario {
    drawn("retries", "replicas die, are slow and refuse calls: callers repeat and hedge", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let attempts = picks.pick("attempts", &[3, 1, 2, 5]);
    let hedge = picks.pick("hedge", &[false, true]);
    let calls_max = picks.pick("--max-calls", &[1024, 4]);
    let over = Duration::from_millis(picks.pick("load over ms", &[600, 3000]));
    let edge = picks.pick("services in front", &EDGES.map(|(name, _)| name));
    let (_, in_front) = EDGES.into_iter().find(|(name, _)| *name == edge).expect("it is picked from these");
    let policy = format!("attempts={attempts};hedge={hedge};backoff=20ms");
    let hosts = ["inner", "spare", "last1"];
    let swarm = Swarm::new(1..=4, over, 50.ms()..=800.ms()).link("edge", "inner").link("inner", "last1");
    let swarm = hosts.iter().fold(swarm, |swarm, host| swarm.host(host));
    let nodes: Vec<_> = [("edge", in_front)].into_iter().chain(NODES).collect();
    worlds::hosted(Scenario::new("retries", "", load(over), swarm), &nodes)
        .workers(1)
        .flags(&["--policy", &policy, "--max-calls", &calls_max.to_string(), "--deadline", "1s"])
        .flags(&["--attempts-header", ATTEMPTS])
        .invariant(move || AttemptsAreTold { in_front, made: BTreeMap::new(), met: 0 })
        .promises(promises::of_calls().enough(ENOUGH))
        .fold("a call is made no more often than its policy says", move |_: &mut (), event| {
            match event.told::<CallMade>() {
                Some(made) if made.attempt >= attempts => {
                    Err(format!("expected {attempts} at most: {event}"))
                }
                _ => Ok(()),
            }
        })
        .every_call("every reply belongs to its request", |call| scripts::as_the_script_says(call, u32::MAX))
}

fn load(over: Duration) -> Load {
    let scripts = (matching("[a-z]{4,8}"), 0..=2_u32, 0..=5_u32)
        .prop_map(|(text, hops, wait_ms)| Script { text, hops, wait_ms, ..Script::default() })
        .sboxed();
    let expect = Expect::ok();
    let load = Load::new(70, over, 450.ms()..=1500.ms());
    scenarios::greetings(load)
        .rpc::<front::Play>(Via::Rest, scripts.clone(), expect.clone())
        .rpc::<front::Play>(Via::Grpc, scripts.clone(), expect.clone())
        .rpc::<middle::Play>(Via::Grpc, scripts, expect)
}

/// The header in which a client over REST is told how many attempts were made.
const ATTEMPTS: &str = "x-attempts";

/// An answer over REST tells of every attempt that the node in front made for it, but for those in memory.
#[derive(Debug)]
struct AttemptsAreTold {
    in_front: &'static [&'static str],
    made: BTreeMap<u32, usize>,
    met: u64,
}

impl Invariant for AttemptsAreTold {
    fn name(&self) -> &str {
        "an answer tells how many attempts were made"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let goes_out = |made: &CallMade| *event.host == *"edge" && !self.in_front.contains(&made.callee);
        let request = event.request.filter(|_| event.told().is_some_and(goes_out));
        request.into_iter().for_each(|request| *self.made.entry(request).or_default() += 1);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(reply) = call.reply.as_ref().filter(|_| call.request.client == "rest") else {
            return Ok(());
        };
        let told = reply.metadata.iter().find(|(name, _)| name == ATTEMPTS);
        let told = told.and_then(|(_, value)| value.parse::<usize>().ok());
        let made = self.made.get(&call.request.id).copied().unwrap_or_default();
        // A call that was refused unread goes out once more within the same attempt, which counts as well.
        if !reply.is_ok() || told.is_some_and(|told| told >= made) {
            self.met += 1;
            return Ok(());
        }
        Err(format!("{}: {made} attempts were made, and its answer tells of {told:?}", call.request_id))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The scenario of a callee that is no node, and says of some calls whether and when they may be made again.
pub(crate) fn pushback() -> sim::Scenario {
    drawn("pushback", "service1 is no node, fails, and says when it may be called again", pushed_back)
}

fn pushed_back(picks: &mut Picks<'_>) -> Scenario {
    let server = foreign::service1_that_fails(said_of);
    let policy = picks.pick("policy", &["attempts=3", "attempts=5", "hedge=true"]);
    let requests = || matching("[a-h][a-z]{3,7}").prop_map(|name| SayHelloRequest { name });
    let right =
        || Expect::ok().or_as_asked::<SayHelloRequest>(|asked| said_of(&asked.name).map(|said| said.code()));
    let load = Load::new(40, 2000.ms(), 300.ms()..=800.ms())
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    let faults = Swarm::new(1..=2, 1500.ms(), 50.ms()..=500.ms()).host("service1");
    Scenario::new("pushback", "", load, faults.only(&[Family::RefusedStreams]))
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", server)
        .workers(1)
        .flags(&["--policy", policy])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("what a callee says of its own connections stays inside", stays_inside)
}

/// What a callee says that is not for clients over REST.
const INSIDE: &str = "not now, says 10.0.0.7";

fn stays_inside(call: &CallRecord) -> Result<(), String> {
    let said = call.reply.as_ref().and_then(rehearse::Reply::message).unwrap_or_default();
    if call.request.client == "rest" && said.contains(INSIDE) {
        return Err(format!("{} was told {said:?}", call.request_id));
    }
    Ok(())
}

/// What the server says of some names in place of an answer.
fn said_of(name: &str) -> Option<Failed> {
    let pushback = match name.chars().next()? {
        'a' => None,
        'b' => Some("-1"),
        'c' => Some("150"),
        'd' => Some("soon"),
        _ => return None,
    };
    let failed = Failed::new(Code::Unavailable, INSIDE);
    Some(match pushback {
        Some(pushback) => failed.pushback(pushback),
        None => failed,
    })
}
