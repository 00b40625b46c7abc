//! Plans shrink to what it takes to break a promise, and to nothing less.

use std::future::{pending, ready};

use super::*;
use crate::call::{CallRecord, Reply};
use crate::host::HostContext;
use crate::invariant::Invariant;
use crate::load::{Load, matching};
use crate::plan::Family;
use crate::rehearsal::rehearse_seed;
use crate::scenario::HostResult;
use crate::swarm::Swarm;

const FULL: &str = "no two calls begin while the service is full";
const FIRST: &str = "the first call is the first of the plan";

/// Takes one fault and two calls to break.
#[derive(Debug, Default)]
struct NoTwoWhileFull {
    calls: u32,
}

impl Invariant for NoTwoWhileFull {
    fn name(&self) -> &str {
        FULL
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.calls += u32::from(call.faults.contains(&"full-service"));
        if self.calls < 2 { Ok(()) } else { Err(format!("{} is the second", call.request_id)) }
    }

    fn met(&self) -> u64 {
        u64::from(self.calls)
    }
}

/// Is broken at once where the first call is left out.
#[derive(Debug, Default)]
struct FirstIsFirst {
    has_begun: bool,
}

impl Invariant for FirstIsFirst {
    fn name(&self) -> &str {
        FIRST
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let is_wrong = !std::mem::replace(&mut self.has_begun, true) && call.request.id != 1;
        if is_wrong { Err(format!("it is {}", call.request_id)) } else { Ok(()) }
    }

    fn met(&self) -> u64 {
        u64::from(self.has_begun)
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn scenario() -> Scenario {
    let load = Load::new(40..=40, ms(1000), ms(100)..=ms(800)).kind("caller", "ask", matching("[a-z]"));
    let faults = Swarm::new(4..=4, ms(800), ms(100)..=ms(700)).host("server");
    let faults = faults.only(&[Family::FullService, Family::SlowHandler, Family::ClockSkew]);
    Scenario::new("shrink", "a promise that two calls break", load, faults)
        .host("server", listens)
        .client("caller", |_| |_| ready(Reply::ok("")))
        .tick(ms(5))
        .invariant(NoTwoWhileFull::default)
}

async fn listens(host: HostContext) -> HostResult {
    let _listener = host.listen(1).await?;
    pending().await
}

fn failed(scenario: &Scenario) -> Rehearsal {
    let mut played = (0..100).map(|seed| rehearse_seed(scenario, seed, None, Keep::Hash));
    played.find(|rehearsal| promise(rehearsal) == Some(FULL)).expect("one of a hundred seeds fails")
}

#[test]
fn what_takes_one_fault_and_two_requests_shrinks_to_these() {
    let scenario = scenario();
    let plan = shrink(&scenario, &failed(&scenario), SHRINK_TIME).rehearsal.plan;
    assert_eq!((plan.faults.len(), plan.requests.len(), plan.probes.len()), (1, 2, 0), "{plan}");
    let is_shortest = |request: &Request| request.at.is_zero() && request.deadline == ms(100);
    assert!(plan.requests.iter().all(is_shortest), "{plan}");
    assert_eq!((plan.faults[0].from, plan.faults[0].lasts), (ms(0), ms(100)), "{plan}");
}

#[test]
fn what_is_shrunk_breaks_the_same_promise() {
    let scenario = scenario().invariant(FirstIsFirst::default);
    let shrunk = shrink(&scenario, &failed(&scenario), SHRINK_TIME).rehearsal;
    assert_eq!(promise(&shrunk), Some(FULL));
    assert_eq!(shrunk.plan.requests[0].id, 1, "{}", shrunk.plan);
    let again = rehearse(&scenario, &shrunk.plan, Keep::Hash);
    assert_eq!((again.violation, again.trace_hash), (shrunk.violation, shrunk.trace_hash));
}

#[test]
fn no_rehearsal_begins_after_the_bound() {
    let scenario = scenario();
    let failed = failed(&scenario);
    let shrunk = shrink(&scenario, &failed, Duration::ZERO);
    assert_eq!((shrunk.tried, shrunk.is_whole, shrunk.rehearsal.plan), (0, false, failed.plan));
}

#[test]
fn the_same_failure_shrinks_in_the_same_way() {
    let scenario = scenario();
    let failed = failed(&scenario);
    let [one, other] = [0, 1].map(|_| shrink(&scenario, &failed, SHRINK_TIME));
    assert!(one.is_whole && other.is_whole);
    assert_eq!((one.tried, one.rehearsal.plan), (other.tried, other.rehearsal.plan));
}

#[test]
fn no_plan_is_played_twice() {
    let scenario = scenario();
    let shrunk = shrink(&scenario, &failed(&scenario), SHRINK_TIME).rehearsal;
    let mut search = Search::new(&scenario, &shrunk, SHRINK_TIME);
    assert!(!search.leave_out());
    let tried = search.tried;
    assert!(!search.leave_out());
    assert_eq!(search.tried, tried);
}

#[test]
fn a_shorter_gap_moves_all_that_follows() {
    let scenario = scenario();
    let mut plan = failed(&scenario).plan;
    let before = beginnings(&plan);
    let number = before.len() / 2;
    let gap = before[number] - before[number - 1];
    set_gap(&mut plan, number, 0);
    let moved = |(other, time): (usize, &Duration)| if other < number { *time } else { *time - gap };
    assert_eq!(beginnings(&plan), before.iter().enumerate().map(moved).collect::<Vec<_>>());
}

/// One of several worlds: of what is picked, the promise needs none but that there is a `choir`.
fn drawn() -> Scenario {
    Scenario::drawn("drawn", "a world of so many hosts", |picks| {
        let world = scenario().tick(ms(picks.pick("tick", &[5, 10])));
        let world = match picks.pick("hosts", &["one", "two"]) {
            "two" => world.host("other", listens),
            _ => world,
        };
        if picks.pick("sings", &["solo", "choir"]) == "choir" {
            return world;
        }
        world.client("caller", |_| |_| ready(Reply::ok(""))).invariant(NoCalls::default)
    })
}

/// Hides all else.
#[derive(Debug, Default)]
struct NoCalls(u64);

impl Invariant for NoCalls {
    fn name(&self) -> &str {
        "nobody calls"
    }

    fn call_started(&mut self, _: &CallRecord) -> Result<(), String> {
        self.0 += 1;
        Err("somebody does".to_owned())
    }

    fn met(&self) -> u64 {
        self.0
    }
}

#[test]
fn a_world_shrinks_to_the_plainest_that_fails() {
    let scenario = drawn();
    let plan = shrink(&scenario, &failed(&scenario), SHRINK_TIME).rehearsal.plan;
    assert_eq!(plan.options, [("sings".to_owned(), "choir".to_owned())].into(), "{plan}");
    assert_eq!((plan.faults.len(), plan.requests.len()), (1, 2), "{plan}");
}

#[test]
fn a_plan_with_an_option_that_there_is_not_is_a_mistake_in_the_plan() {
    let scenario = drawn();
    let mut plan = failed(&scenario).plan;
    plan.options.insert("hosts".to_owned(), "nine".to_owned());
    let violation = rehearse(&scenario, &plan, Keep::Hash).violation.expect("it cannot be played");
    assert_eq!(violation.detail, r#"the option "hosts" is "nine", and can be one, two"#);
}
