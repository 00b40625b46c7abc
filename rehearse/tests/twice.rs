//! A handler that makes the same call several times at once, and leaves work behind that makes it once more: which of
//! them has met what, and is late, is not told by their request and rpc.

use futures_util::future::join;
use node::actix::{Actor, Context, Handler};
use node::{App, Call, CallContext, Reply, Serve};
use protos::app::grpc::service1::{self, ProcessName, Service1};
use protos::app::grpc::service2::{SayHello, Service2};
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse, SayHelloRequest, SayHelloResponse};
use rehearse::proptest::prelude::*;
use rehearse::{Expect, Family, Host, Load, Ms as _, Scenario, Swarm, Via, matching, promises};
use sim::{Keep, rehearse_seed};

/// Answers at once, and so dies of a panic.
struct Names;

/// Asks for each name twice at once, and once more when it has answered.
struct Greets(service1::Client);

impl Actor for Names {
    type Context = Context<Self>;
}

impl Serve for Names {
    type Contract = Service1;
}

impl Handler<Call<ProcessName>> for Names {
    type Result = Reply<ProcessName>;

    fn handle(&mut self, call: Call<ProcessName>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|request| Ok(ProcessNameResponse { name: request.name.to_uppercase() }))
    }
}

impl Actor for Greets {
    type Context = Context<Self>;
}

impl Serve for Greets {
    type Contract = Service2;
}

impl Handler<Call<SayHello>> for Greets {
    type Result = Reply<SayHello>;

    fn handle(&mut self, call: Call<SayHello>, _: &mut Context<Self>) -> Self::Result {
        let names = self.0.clone();
        call.answer(async move |request| {
            let asks = || names.process_name(ProcessNameRequest { name: request.name.clone() });
            if let Some(context) = CallContext::current() {
                let (names, name) = (names.clone(), request.name.clone());
                // Whether it works is nobody's answer.
                let work = async move { drop(names.process_name(ProcessNameRequest { name }).await) };
                context.spawn(2000.ms(), work)?;
            }
            let (one, other) = join(asks(), asks()).await;
            Ok(SayHelloResponse { hello: format!("Hello, {} and {}!", one?.name, other?.name) })
        })
    }
}

fn scenario(swarm: Swarm) -> sim::Scenario {
    let requests = matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let load = Load::new(30, 300.ms(), 250.ms()..=800.ms());
    let app = |_: &Host| App::new().service(Greets).service_in_node(|()| Names);
    Scenario::new(
        "twice",
        "calls of one request that are the same",
        load.rpc::<SayHello>(Via::Grpc, requests, Expect::ok()),
        swarm,
    )
    .node("front", &["service2"], app)
    .node("back", &["service1"], app)
    .promises(promises::of_calls())
    .into()
}

#[test]
fn calls_of_one_request_that_are_the_same_raise_no_false_alarm() {
    let faults = || Swarm::new(1..=3, 250.ms(), 20.ms()..=400.ms()).everywhere();
    for swarm in [faults(), faults().only(&[Family::PanickingHandler, Family::SlowHandler])] {
        let scenario = scenario(swarm);
        for seed in 0..60 {
            let played = rehearse_seed(&scenario, seed, None, Keep::Hash);
            assert_eq!(played.violation, None, "seed {seed}");
        }
    }
}
