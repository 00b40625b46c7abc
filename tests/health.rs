//! The health of services, as gRPC's own protocol asks for it.

mod common;
mod process;

use std::sync::Arc;

use common::counter::CounterActor;
use common::{LIMITS, SOON, grpc_over_memory, run};
use futures_util::StreamExt as _;
use process::Node;
use process::frames::post;
use process::http2::Client as Http2;
use tokio::time::timeout;
use transport::health::{Check, HealthCheckRequest, HealthCheckResponse, ServingStatus, Watch};
use transport::memory::Memory;
use transport::{Client, Code, Drain, Result, Router, Service};

/// A client that asks a node which hosts the counter and tells of its health.
async fn asked(carrier: &str, drain: &Drain) -> (Router, Client) {
    let memory = Memory::new();
    let mut router = Router::builder(LIMITS, drain.clone());
    let counter = Service::in_node(|()| CounterActor::new(Arc::default()));
    router.add(&counter, &|name| unreachable!("the counter calls no {name}"));
    router.serve_health();
    let router = router.build();
    memory.lead_to(&router);
    if carrier == "memory" {
        return (router, Client::new(memory, SOON, LIMITS));
    }
    (router.clone(), grpc_over_memory(router))
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

fn status(answer: Result<HealthCheckResponse>) -> Result<ServingStatus, Code> {
    answer.map(|answer| answer.status()).map_err(|error| error.code())
}

#[test]
fn a_service_serves_until_a_drain_is_announced() {
    for carrier in ["memory", "grpc"] {
        run(async {
            let drain = Drain::new();
            let (_router, client) = asked(carrier, &drain).await;
            for (name, expected) in [
                ("", Ok(ServingStatus::Serving)),
                ("rehearsal.Counter", Ok(ServingStatus::Serving)),
                ("rehearsal.Nobody", Err(Code::NotFound)),
            ] {
                assert_eq!(status(client.call::<Check>(of(name)).await), expected, "{name} over {carrier}");
            }
            drain.announce();
            let after = client.call::<Check>(of("rehearsal.Counter")).await;
            assert_eq!(status(after), Ok(ServingStatus::NotServing));
        });
    }
}

#[test]
fn who_watches_is_told_before_the_drain_starts_and_holds_it_up_no_longer() {
    for carrier in ["memory", "grpc"] {
        run(async {
            let drain = Drain::new();
            let (_router, client) = asked(carrier, &drain).await;
            let mut watched = client.call::<Watch>(of("rehearsal.Counter")).await.expect("it is watched");
            assert_eq!(watched.next().await.map(status), Some(Ok(ServingStatus::Serving)));
            let mut unknown = client.call::<Watch>(of("rehearsal.Nobody")).await.expect("it is watched");
            assert_eq!(unknown.next().await.map(status), Some(Ok(ServingStatus::ServiceUnknown)));
            drain.announce();
            let last = timeout(SOON, watched.next()).await.expect("it is told soon");
            assert_eq!(last.map(status), Some(Ok(ServingStatus::NotServing)));
            let mut late = client.call::<Watch>(of("rehearsal.Counter")).await.expect("it is watched");
            assert_eq!(late.next().await.map(status), Some(Ok(ServingStatus::NotServing)));
            drain.start();
            for mut ended in [watched, unknown, late] {
                let end = timeout(SOON, ended.next()).await.expect("it ends soon");
                assert!(end.is_none());
            }
        });
    }
}

#[test]
fn whoever_watches_takes_no_place_of_other_streams() {
    run(async {
        let drain = Drain::new();
        let (_router, client) = asked("grpc", &drain).await;
        let mut watched = Vec::new();
        for _ in 0..LIMITS.streams * 2 {
            let mut watch = client.call::<Watch>(of("rehearsal.Counter")).await.expect("it is watched");
            assert_eq!(watch.next().await.map(status), Some(Ok(ServingStatus::Serving)));
            watched.push(watch);
        }
    });
}

#[test]
fn a_node_tells_its_own_health_and_that_of_its_services() {
    let node = Node::start(&["--services", "service1"]);
    let mut client = Http2::open(&node.address("grpc"));
    // Field 1 of the request is the name, field 1 of the answer says 1: serving.
    let name = b"app.grpc.Service1";
    let named = [&[0, 0, 0, 0, 19, 0x0a, 17][..], name].concat();
    for message in [&[0, 0, 0, 0, 0][..], &named] {
        let reply = client.call(post("/grpc.health.v1.Health/Check"), message);
        assert_eq!((reply.code(), &reply.body[..]), (Some(0), &[0, 0, 0, 0, 2, 8, 1][..]));
    }
    let reply = client.call(post("/grpc.health.v1.Health/List"), &[0, 0, 0, 0, 0]);
    assert_eq!(reply.code(), Some(12), "there is no such method");
}
