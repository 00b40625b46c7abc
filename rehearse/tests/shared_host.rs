//! Two services on one host: calls between them stay in memory, and have no edge and no link.

use node::App;
use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service2::SayHello;
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Expect, Host, Load, Ms as _, Scenario, Swarm, Via, answer, matching, promises, request,
};
use sim::{Keep, rehearse_seed};

fn app(_: &Host) -> App {
    actors::services().into_iter().collect()
}

fn greets(call: &CallRecord) -> Result<(), String> {
    let asked = request::<SayHello>(call).ok_or("a call of something else")?;
    let expected = format!("Hello, {}!", asked.name.to_uppercase());
    match answer::<SayHello>(call) {
        Some(answer) if answer.hello != expected => Err(format!("{} for {}", answer.hello, asked.name)),
        _ => Ok(()),
    }
}

fn hello(via: Via) -> impl FnOnce(Load) -> Load {
    let requests = matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    move |load| load.rpc::<SayHello>(via, requests, Expect::ok())
}

fn scenario() -> sim::Scenario {
    let load = hello(Via::Grpc)(hello(Via::Rest)(Load::new(30, 300.ms(), 200.ms()..=800.ms())));
    let faults = Swarm::new(1..=3, 250.ms(), 20.ms()..=400.ms()).everywhere();
    Scenario::new("shared", "a replica of both services on each of two hosts", load, faults)
        .node("one", &["service1", "service2"], app)
        .node("other", &["service1", "service2"], app)
        .flags(&["--max-calls", "8"])
        .promises(promises::of_calls())
        .every_call("everybody is greeted", greets)
        .into()
}

#[test]
fn services_on_one_host_keep_their_promises_whatever_breaks() {
    let scenario = scenario();
    for seed in 0..40 {
        let played = rehearse_seed(&scenario, seed, None, Keep::Hash);
        assert_eq!(played.violation, None, "seed {seed}");
    }
}
