//! Actors that panic, in a rehearsal: what they said is told with the violation.

use std::sync::Arc;

use node::actix::{Actor, Context, Handler};
use node::disk::Disk as _;
use node::{App, Call, Reply, Serve};
use protos::app::grpc::service1::{ProcessName, Service1};
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse};
use rehearse::proptest::prelude::*;
use rehearse::{Disk, Expect, Family, Host, Load, Ms as _, Scenario, Swarm, Via, matching, promises};
use sim::{Keep, Violation, ViolationKind, rehearse_seed};

/// Panics where it is told to.
struct Careless {
    at: &'static str,
    disk: Disk,
}

impl Careless {
    fn new(at: &'static str, disk: Disk) -> Self {
        assert!(at != "making", "there is no journal");
        let has_run = !disk.read().expect("the host runs").is_empty();
        assert!(at != "restart" || !has_run, "the journal is torn");
        Self { at, disk }
    }
}

impl Actor for Careless {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        assert!(self.at != "start", "there is no table");
    }
}

impl Serve for Careless {
    type Contract = Service1;
}

impl Handler<Call<ProcessName>> for Careless {
    type Result = Reply<ProcessName>;

    fn handle(&mut self, call: Call<ProcessName>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|request| {
            assert!(self.at != "handler", "the name {} is not in the index", request.name);
            self.disk.append(b"x").and_then(|()| self.disk.sync()).expect("the host runs");
            Ok(ProcessNameResponse { name: request.name.to_uppercase() })
        })
    }
}

fn violation(at: &'static str, via: Via, swarm: Swarm) -> Violation {
    let requests = matching("[a-z]{4,8}").prop_map(|name| ProcessNameRequest { name });
    let load = Load::new(20, 300.ms(), 200.ms()..=800.ms()).rpc::<ProcessName>(via, requests, Expect::ok());
    let app = move |host: &Host| {
        let disk = Arc::new(host.disk("journal"));
        App::new().service_in_node(move |()| Careless::new(at, Disk::clone(&disk)))
    };
    let scenario = Scenario::new("careless", "an actor that panics", load, swarm)
        .nodes(&["service1"], app)
        .promises(promises::of_calls());
    let scenario = scenario.into();
    let mut played = (0..20).map(|seed| rehearse_seed(&scenario, seed, None, Keep::Hash));
    played.find_map(|played| played.violation).expect("a panic breaks a promise")
}

#[test]
fn what_an_actor_said_when_it_panicked_at_its_start_is_told() {
    let violation = violation("start", Via::Grpc, Swarm::calm());
    assert!(
        violation.detail.contains("service1: there is no table at rehearse/tests/panics.rs:"),
        "{violation}"
    );
    assert_eq!(violation.kind, ViolationKind::SetUp);
}

#[test]
fn what_was_said_when_an_actor_could_not_be_made_is_told() {
    let violation = violation("making", Via::Grpc, Swarm::calm());
    assert!(violation.detail.starts_with("service1: there is no journal at "), "{violation}");
    assert_eq!(violation.kind, ViolationKind::SetUp);
}

#[test]
fn what_a_handler_said_when_it_panicked_is_told() {
    for via in [Via::Rest, Via::Grpc] {
        let violation = violation("handler", via, Swarm::calm());
        assert!(violation.detail.starts_with("service1: the name "), "{violation}");
        assert_eq!(violation.kind, ViolationKind::Promise);
    }
}

#[test]
fn what_an_actor_said_when_it_panicked_after_a_restart_is_told() {
    let kills = Swarm::new(1..=2, 250.ms(), 20.ms()..=400.ms()).everywhere().only(&[Family::Kill]);
    let violation = violation("restart", Via::Grpc, kills);
    assert!(violation.detail.contains("service1: the journal is torn"), "{violation}");
    assert_eq!(violation.kind, ViolationKind::Promise);
}
