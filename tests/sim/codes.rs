//! Rehearsals of what policies say in numbers and names: after which codes a call is repeated, what that may cost, and how long
//! it may take. What is expected is what the scenario says, and not what a node has made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use probe_contract::{Script, front};
use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service2::SayHello;
use rehearse::facts::{CallMade, CallOutcome, Outcome};
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{
    CallRecord, Code, Event, Expect, Failed, Family, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via,
    Wants, drawn, matching, promises,
};

use crate::greetings::greetings;
use crate::{checks, foreign, scenarios, worlds};

/// A policy, and what it says.
#[derive(Debug, Clone, Copy)]
struct Policy {
    flag: &'static str,
    /// The code after which a call is repeated.
    repeated_after: Code,
    /// The tokens of the budget, and what a call that works adds to it, in thousandths.
    budget: (usize, usize),
    deadline: Duration,
    /// The first wait before a repetition, and the longest.
    waits: (Duration, Duration),
}

const DEFAULTS: Policy = Policy {
    flag: "",
    repeated_after: Code::Unavailable,
    budget: (10, 100),
    deadline: Duration::MAX,
    waits: (Duration::from_millis(50), Duration::from_secs(1)),
};

const POLICIES: [Policy; 6] = [
    Policy { flag: "retry-codes=ABORTED", repeated_after: Code::Aborted, ..DEFAULTS },
    Policy { flag: "budget=2;budget-ratio=0", budget: (2, 0), ..DEFAULTS },
    Policy { flag: "service1.deadline=150ms", deadline: Duration::from_millis(150), ..DEFAULTS },
    Policy { flag: "budget=20;budget-ratio=0", budget: (20, 0), ..DEFAULTS },
    Policy {
        flag: "backoff=80ms;backoff-max=90ms",
        waits: (Duration::from_millis(80), Duration::from_millis(90)),
        ..DEFAULTS
    },
    // Of each word the narrowest counts: that of the service, though its method has another word of its own.
    Policy { flag: SCOPES, repeated_after: Code::Aborted, ..DEFAULTS },
];

const SCOPES: &str = "service1.ProcessName.attempts=3;service1.retry-codes=ABORTED;retry-codes=DATA_LOSS";

/// The scenario of a callee that is no node, and fails with a code that a policy names, or with another one.
pub(crate) fn codes() -> sim::Scenario {
    drawn("codes", "service1 is no node, and fails with codes that its callers' policy names or not", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let flag = picks.pick("policy", &POLICIES.map(|policy| policy.flag));
    let policy = POLICIES.into_iter().find(|policy| policy.flag == flag).expect("it is picked from these");
    let requests = || matching("[a-d][a-z]{3,7}").prop_map(|name| SayHelloRequest { name });
    let right =
        || Expect::ok().or_as_asked::<SayHelloRequest>(|asked| said_of(&asked.name).map(|said| said.code()));
    let load = Load::new(40, 2000.ms(), 400.ms()..=800.ms())
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right());
    Scenario::new("codes", "", load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", foreign::service1_that_fails(said_of))
        .workers(1)
        .flags(&["--policy", flag])
        // What a call may cost is said otherwise here, and judged by that.
        .promises(promises::of_calls().except(promises::ATTEMPTS_ARE_PAID_FOR))
        .every_call("every reply belongs to its request", checks::right_value)
        .invariant(move || AsThePolicySays::of(policy))
}

/// The scenario of a service of which one method has little time: the others have theirs.
pub(crate) fn methods() -> Scenario {
    let asks = || {
        let asked = matching("[a-z]{4,8}");
        asked.prop_map(|text| Script { text, hops: 1, wait_ms: 150, ..Script::default() })
    };
    let load = Load::new(30, 900.ms(), 800.ms()..=1200.ms());
    let load = load.rpc::<front::Play>(Via::Rest, asks(), Expect::ok());
    let scenario =
        Scenario::new("methods", "of two methods of a service one has little time", load, Swarm::calm());
    worlds::hosted(scenario, &[("edge", &["front", "middle"]), ("back", &["back"])])
        .flags(&["--deadline", "1s", "--policy", "back.Glance.deadline=50ms"])
        .promises(promises::of_calls())
        .every_call("every call works", checks::works)
}

/// The scenario of a host that answers at once, and never with what was asked for, and another that takes its time: where a
/// call has been, it does not go again.
pub(crate) fn elsewhere() -> Scenario {
    let load = greetings(Load::new(40, 6000.ms(), 800.ms()..=1200.ms()), Expect::ok());
    let about = "of two hosts of service1 the quicker one aborts each call";
    Scenario::new("elsewhere", about, load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign(
            "aborting",
            foreign::service1_that_fails(|_| Some(Failed::new(Code::Aborted, "not here".to_owned()))),
        )
        .foreign("slow", foreign::service1().takes(150.ms()))
        .workers(1)
        .flags(&["--policy", "attempts=2;retry-codes=ABORTED;budget=1000", "--deadline", "2s"])
        .promises(
            promises::of_calls().except(promises::ATTEMPTS_ARE_PAID_FOR).except(promises::REPLICAS_SHARE),
        )
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("every call works, at the other host", checks::works)
}

/// The scenario of a callee with one address whose calls are slow, and fail later: what is slow may be hedged, and is not, for
/// there is nowhere else to go, and so it costs nothing.
pub(crate) fn saved() -> Scenario {
    let right = Expect::ok().or(Code::Unavailable);
    let load = greetings(Load::new(200, 8000.ms(), 2500.ms()..=3000.ms()), right);
    let swarm = Swarm::new(2..=3, 4000.ms(), 500.ms()..=1500.ms()).link("service2", "service1");
    let ill = 6000.ms()..6500.ms();
    let well_again = ill.end;
    let service1 = foreign::service1().falls_ill(ill, foreign::ill(), well_again);
    let about = "the calls of service1 are slow, which costs them nothing, and fail later";
    Scenario::new("saved", about, load, swarm.only(&[Family::SlowLink]))
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", service1)
        .workers(1)
        // No connection is taken for dead meanwhile.
        .flags(&["--keepalive", "3s", "--greeting-timeout", "1500ms"])
        .flags(&["--policy", "hedge=true", "--deadline", "3s"])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .invariant(FirstIsRepeated::default)
}

/// The first call that fails is made again: nothing has been paid before.
#[derive(Debug, Default)]
struct FirstIsRepeated {
    /// The call of each attempt that is under way, and which it is.
    going: BTreeMap<u32, (u32, u32)>,
    first: Option<Failing>,
    met: u64,
}

/// A call that has failed.
#[derive(Debug)]
struct Failing {
    request: u32,
    call: u32,
    is_repeated: bool,
}

impl Invariant for FirstIsRepeated {
    fn name(&self) -> &str {
        "the first call that fails is repeated"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(made) = event.told::<CallMade>() {
            self.going.insert(made.hop, (made.call, made.attempt));
            if let Some(first) = &mut self.first {
                first.is_repeated |= first.call == made.call && made.attempt > 0;
            }
        }
        let Some(ended) = event.told::<CallOutcome>() else { return Ok(()) };
        let known = self.going.remove(&ended.hop).zip(event.request);
        if let Some(((call, 0), request)) =
            known.filter(|_| ended.outcome == Outcome::Said(Code::Unavailable))
        {
            self.first.get_or_insert(Failing { request, call, is_repeated: false });
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(&Failing { is_repeated, .. }) =
            self.first.as_ref().filter(|first| first.request == call.request.id)
        else {
            return Ok(());
        };
        self.met += 1;
        if is_repeated { Ok(()) } else { Err(format!("{} failed, and was not made again", call.request_id)) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// What the server says of some names in place of an answer.
fn said_of(name: &str) -> Option<Failed> {
    match name.chars().next()? {
        'a' => Some(Failed::new(Code::Unavailable, "not now")),
        'b' => Some(Failed::new(Code::Aborted, "another one was first")),
        _ => None,
    }
}

/// A call is repeated after the code that its policy names and after no other, for what its budget has and no more, within its
/// deadline, and after the waits of its policy: that these are kept is judged with the promises about calls.
#[derive(Debug)]
struct AsThePolicySays {
    policy: Policy,
    /// The calls of each attempt.
    calls: BTreeMap<u32, u32>,
    /// What the last attempt of each call came to.
    outcomes: BTreeMap<u32, Outcome>,
    /// The calls that have failed so that they are to be repeated, while there is something to pay for it, by their requests.
    due: BTreeMap<u32, u32>,
    /// The calls that were made, and the attempts, and how many have failed with the code.
    made: BTreeSet<u32>,
    attempts: usize,
    failed: usize,
    met: u64,
}

impl AsThePolicySays {
    fn of(policy: Policy) -> Self {
        let (calls, outcomes, due, made) = Default::default();
        Self { policy, calls, outcomes, due, made, attempts: 0, failed: 0, met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        let Policy { repeated_after, budget: (tokens, ratio), deadline, waits, .. } = self.policy;
        self.met += 1;
        self.calls.insert(made.hop, made.call);
        self.made.insert(made.call);
        self.attempts += 1;
        if made.left.is_none_or(|left| left > deadline) {
            return Err(format!("expected that it has {} ms at most: {event}", deadline.as_millis()));
        }
        if made.waits != waits {
            let [seen, expected] = [made.waits, waits]
                .map(|(first, most)| format!("{} to {}", first.as_millis(), most.as_millis()));
            return Err(format!("its waits are of {seen} ms; expected {expected} ms: {event}"));
        }
        let most = self.made.len() * (1000 + ratio) / 1000 + tokens / 2;
        if self.attempts > most {
            let (calls, attempts) = (self.made.len(), self.attempts);
            return Err(format!(
                "of {calls} calls this is attempt {attempts}; expected {most} at most: {event}"
            ));
        }
        self.due.retain(|_, call| *call != made.call);
        match self.outcomes.get(&made.call) {
            Some(Outcome::Said(code)) if made.attempt > 0 && *code != repeated_after => Err(format!(
                "it came to {code:?}; expected that it is repeated after {repeated_after:?} only: {event}"
            )),
            _ => Ok(()),
        }
    }

    fn ended(&mut self, event: &Event, ended: &CallOutcome) {
        let Some(call) = self.calls.remove(&ended.hop) else { return };
        let is_first = self.outcomes.insert(call, ended.outcome).is_none();
        if ended.outcome != Outcome::Said(self.policy.repeated_after) {
            return;
        }
        self.failed += 1;
        if is_first && self.failed < self.policy.budget.0 / 2 {
            self.due.extend(event.request.map(|request| (request, call)));
        }
    }
}

impl Invariant for AsThePolicySays {
    fn name(&self) -> &str {
        "a call is repeated as its policy says"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(made) = event.told::<CallMade>() {
            return self.made(event, made);
        }
        event.told::<CallOutcome>().into_iter().for_each(|ended| self.ended(event, ended));
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Policy { repeated_after, .. } = self.policy;
        match self.due.remove(&call.request.id) {
            Some(_) if call.reply.as_ref().is_some_and(|reply| !reply.is_ok()) => Err(format!(
                "{} was tried once and came to {repeated_after:?}; expected that it is repeated after that, for the budget has tokens",
                call.request_id
            )),
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
