//! What can be done without is refused before what cannot, on every hop that a call has.

mod common;

use common::{Event, SOON, World, host, on_every_carrier, run};
use probe_contract::probe::{self, Act};
use probe_contract::{ActRequest, ActResponse, Deed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::spawn_local;
use transport::memory::Memory;
use transport::{CallerAddress, Client, Code, Drain, Result, ServiceClient as _, rest};

fn told(deed: Deed) -> ActRequest {
    ActRequest { deed: deed.into(), ..Default::default() }
}

async fn act(world: &World, criticality: &'static str, deed: Deed) -> Result<ActResponse> {
    let mut request = tonic::Request::new(told(deed));
    request.metadata_mut().insert("x-criticality", criticality.parse().expect("a value"));
    world.client().exchange::<Act>(request).await.map(tonic::Response::into_inner)
}

/// Takes so many permits, and keeps them.
async fn occupy(world: &mut World, permits: usize) {
    for _ in 0..permits {
        let probe = world.probe.clone();
        spawn_local(async move { probe.act(told(Deed::Hang)).await });
        assert_eq!(world.event().await, Event::Started);
    }
}

#[test]
fn a_sheddable_call_is_refused_when_three_quarters_of_the_permits_are_taken() {
    on_every_carrier(async |world| {
        occupy(world, 2).await;
        act(world, "sheddable", Deed::Answer).await.expect("the third of four permits is free");
        occupy(world, 1).await;
        let shed = act(world, "sheddable", Deed::Answer).await.expect_err("three are taken");
        assert_eq!(shed.code(), Code::ResourceExhausted);
        for other in ["default", "critical", "nonsense"] {
            act(world, other, Deed::Answer).await.expect("the last permit is for them");
        }
        occupy(world, 1).await;
        for any in ["default", "critical"] {
            let refused = act(world, any, Deed::Answer).await.expect_err("all are taken");
            assert_eq!(refused.code(), Code::ResourceExhausted, "{any}");
        }
    });
}

#[test]
fn the_calls_of_a_handler_matter_as_much_as_its_own() {
    on_every_carrier(async |world| {
        occupy(world, 2).await;
        act(world, "default", Deed::Relay).await.expect("its call has the last permit");
        let shed = act(world, "sheddable", Deed::Relay).await.expect_err("its call would have the last one");
        assert_eq!(shed.code(), Code::ResourceExhausted);
    });
}

#[test]
fn how_much_a_call_matters_is_no_metadata_of_its_handler() {
    on_every_carrier(async |world| {
        let seen = act(world, "sheddable", Deed::Metadata).await.expect("an answer");
        assert_eq!(seen.text, "");
    });
}

/// The status over REST of a sheddable call when three of four permits are taken.
async fn over_rest(let_through: &[&str]) -> String {
    let memory = Memory::new();
    let probe = probe::Client::new(Client::new(memory.clone(), SOON, common::LIMITS));
    let (router, mut events, _free) = host(&probe);
    memory.lead_to(&router);
    for _ in 0..3 {
        let probe = probe.clone();
        spawn_local(async move { probe.act(told(Deed::Hang)).await });
        events.recv().await.expect("it hangs");
    }
    let headers = let_through.iter().map(ToString::to_string).collect();
    let drain = Drain::new();
    let options = rest::Options { deadline: SOON, headers, attempts_header: None };
    let server = rest::Server::new(router, options, drain.clone()).await;
    let ((mut near, far), open) = (duplex(64 * 1024), drain.work());
    spawn_local(async move {
        server.serve_connection(Box::new(far), CallerAddress::Unix, open).await;
    });
    let request =
        "GET /probe/x HTTP/1.1\r\nhost: probe\r\nx-criticality: sheddable\r\nconnection: close\r\n\r\n";
    near.write_all(request.as_bytes()).await.expect("the edge reads");
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.expect("the edge answers and closes");
    answer[9..12].to_owned()
}

#[test]
fn a_rest_client_says_how_much_its_calls_matter_only_where_the_node_lets_it() {
    run(async {
        assert_eq!(over_rest(&[]).await, "200");
        assert_eq!(over_rest(&["x-criticality"]).await, "429");
    });
}
