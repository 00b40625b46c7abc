//! Rehearsals of calls that go by a key: each key has a home, on which all callers agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service2::SayHello;
use rehearse::facts::{CallMade, CallOutcome, HandlerBegun};
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{
    CallRecord, Event, Expect, Family, FaultKind, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via,
    Wants, What, drawn, matching, promises, request,
};

use crate::{checks, scenarios};

/// The hosts of service1.
const HOSTS: [&str; 3] = ["service1", "spare1", "spare2"];

/// The scenario of keys whose homes come and go.
pub(crate) fn homes() -> sim::Scenario {
    drawn("homes", "calls go by a key, and the homes of keys come and go", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    // What is said of all calls, too: those by a key are not hedged, and who has no room is asked again, and nobody else.
    let of_all =
        picks.pick("policy of all calls", &["hedge=false", "hedge=true", "retry-codes=RESOURCE_EXHAUSTED"]);
    // Few keys, so that each has many calls, of both callers.
    let names = || matching("[a-h]").prop_map(|name| SayHelloRequest { name });
    let load = Load::new(80, 6000.ms(), 400.ms()..=1500.ms())
        .rpc::<SayHello>(Via::Rest, names(), Expect::ok())
        .rpc::<SayHello>(Via::Grpc, names(), Expect::ok());
    let families = [
        Family::Kill,
        Family::Drain,
        Family::PowerLoss,
        Family::Pause,
        Family::SlowHandler,
        Family::RefusedStreams,
        Family::FullService,
        Family::Reset,
    ];
    let swarm = Swarm::new(1..=3, 4000.ms(), 100.ms()..=1500.ms()).only(&families);
    let swarm = HOSTS[..2].iter().fold(swarm, |swarm, host| swarm.host(host).link(OTHER, host));
    let scenario = Scenario::new("", "", load, swarm)
        .nodes(&["service1", "service2"], scenarios::app)
        .node("spare1", &["service1"], scenarios::app)
        .node("spare2", &["service1"], scenarios::app)
        .node(OTHER, &["service2"], scenarios::app);
    scenario
        .workers(1)
        .flags(&["--policy", of_all, "--policy", "service1.ProcessName.key=name"])
        // So few keys may have their homes on two hosts.
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .every_call("every reply belongs to its request", checks::right_value)
        .invariant(HomesAreKept::default)
        .invariant(OneAtATime::default)
}

/// The scenario of a home that goes while its keys are called, and comes back: they come back with it.
pub(crate) fn returning() -> Scenario {
    let names = || matching("[a-h]").prop_map(|name| SayHelloRequest { name });
    let load = Load::new(160, 10_000.ms(), 400.ms()..=1500.ms())
        .rpc::<SayHello>(Via::Rest, names(), Expect::ok())
        .rpc::<SayHello>(Via::Grpc, names(), Expect::ok());
    let swarm = Swarm::new(1..=2, 1500.ms(), 400.ms()..=1500.ms()).only(&[Family::Kill, Family::PowerLoss]);
    Scenario::new(
        "returning",
        "the homes of keys go while these are called, and come back",
        load,
        swarm.host("service1"),
    )
    .nodes(&["service1", "service2"], scenarios::app)
    .node("spare1", &["service1"], scenarios::app)
    .workers(1)
    .flags(&["--policy", "service1.ProcessName.key=name"])
    .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
    .every_call("every reply belongs to its request", checks::right_value)
    .invariant(HomesComeBack::default)
}

/// Who could not be reached is tried again after so long, however often that was in vain here.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// When a host is back for a while, calls by a key come to the home that they had before it went.
#[derive(Debug, Default)]
struct HomesComeBack {
    keys: BTreeMap<u32, String>,
    homes: BTreeMap<String, Arc<str>>,
    has_gone: bool,
    gone: u32,
    /// When the last of them came back.
    back: Duration,
    met: u64,
}

impl Invariant for HomesComeBack {
    fn name(&self) -> &str {
        "keys come back with their homes"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<HandlerBegun>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.keys.extend(request::<SayHello>(call).map(|asked| (call.request.id, asked.name)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::FaultBegins { .. } => (self.has_gone, self.gone) = (true, self.gone + 1),
            What::FaultEnds { .. } => (self.gone, self.back) = (self.gone - 1, event.at),
            _ => {}
        }
        let is_by_key = event.told::<HandlerBegun>().is_some_and(|begun| begun.service == "service1");
        let key = event.request.filter(|_| is_by_key).and_then(|call| self.keys.get(&call));
        let Some(key) = key else { return Ok(()) };
        if !self.has_gone {
            self.homes.insert(key.clone(), Arc::clone(&event.host));
        }
        let Some(home) = self.homes.get(key) else { return Ok(()) };
        if self.gone > 0 || event.at < self.back + BACK_WITHIN {
            return Ok(());
        }
        self.met += 1;
        if *home == event.host {
            return Ok(());
        }
        let back = (event.at - self.back).as_millis();
        Err(format!(
            "a call with the key {key} came to {}; expected {home}, where it was at home and which is back for {back} ms",
            event.host
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A call by a key is made once more when the attempt before has ended, and never beside it.
#[derive(Debug, Default)]
struct OneAtATime {
    /// The attempt that is under way, of each call.
    going: BTreeMap<u32, u32>,
    met: u64,
}

impl Invariant for OneAtATime {
    fn name(&self) -> &str {
        "a call by a key is not hedged"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(ended) = event.told::<CallOutcome>() {
            self.going.retain(|_, hop| *hop != ended.hop);
        }
        let Some(made) = event.told::<CallMade>() else { return Ok(()) };
        self.met += 1;
        match self.going.insert(made.call, made.hop) {
            Some(_) => Err(format!("{event}: expected that the attempt before has ended")),
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Calls with one key go to one host, whoever makes them, for as long as nothing happens to it.
#[derive(Debug, Default)]
struct HomesAreKept {
    keys: BTreeMap<u32, String>,
    homes: BTreeMap<String, Arc<str>>,
    /// The hosts to which something has happened.
    touched: BTreeSet<String>,
    /// The host that calls for each request.
    callers: BTreeMap<u32, Arc<str>>,
    /// Those to which `other` is connected, and those to which it was and is again.
    connected: BTreeSet<String>,
    lost: BTreeSet<String>,
    met: u64,
}

/// The caller whose connections break.
const OTHER: &str = "other";

impl HomesAreKept {
    /// Who refuses a call is still the home: it is made there again. So is who has lost a connection, which is made anew at once:
    /// unless it was not there yet, or is lost again.
    fn touch(&mut self, fault: &FaultKind) {
        let (one, other) = fault.hosts();
        let home = other.filter(|_| one == OTHER).unwrap_or(one);
        let is_touched = match fault.family() {
            Family::RefusedStreams | Family::FullService => false,
            Family::Reset => !self.connected.remove(home) || !self.lost.insert(home.to_owned()),
            _ => true,
        };
        if is_touched {
            self.touched.insert(home.to_owned());
        }
    }

    /// A call has come to a host of service1, over a connection.
    fn note_caller(&mut self, event: &Event, request: u32) {
        if self.callers.get(&request).is_some_and(|caller| **caller == *OTHER) {
            self.connected.insert(event.host.to_string());
        }
    }
}

impl Invariant for HomesAreKept {
    fn name(&self) -> &str {
        "keys keep their homes"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<HandlerBegun>().fact::<CallMade>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.keys.extend(request::<SayHello>(call).map(|asked| (call.request.id, asked.name)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let What::FaultBegins { fault, .. } = &event.what {
            self.touch(&fault.what);
        }
        if let (Some(request), Some(_)) = (event.request, event.told::<CallMade>()) {
            self.callers.insert(request, Arc::clone(&event.host));
        }
        if event.told::<HandlerBegun>().is_none_or(|begun| begun.service != "service1") {
            return Ok(());
        }
        event.request.into_iter().for_each(|request| self.note_caller(event, request));
        let Some(key) = event.request.and_then(|call| self.keys.get(&call)) else { return Ok(()) };
        let is_touched = |host: &str| self.touched.contains(host);
        match self.homes.get(key) {
            // Where it went first may be no home any more, or not have been.
            None if self.touched.is_empty() && self.lost.is_empty() => {
                self.homes.insert(key.clone(), Arc::clone(&event.host));
            }
            Some(home) if *home != event.host && !is_touched(home) => {
                return Err(format!(
                    "a call with the key {key} came to {}; expected {home}, where others with it went and to which nothing \
                     has happened",
                    event.host
                ));
            }
            None | Some(_) => {}
        }
        self.met += 1;
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
