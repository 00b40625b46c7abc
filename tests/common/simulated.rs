//! The probe on a host of its own, and a client on another: a claim over the simulated network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::Listen;
use probe_contract::probe;
use sim::{HostContext, HostResult, Keep, Load, Reply, Scenario, Swarm};
use tokio::sync::{Notify, mpsc};
use transport::grpc::Keepalive;
use transport::{Address, Client, ServiceClient as _};

use super::clients::client_over;
use super::machine::{self, Simulated};
use super::probe::{Event, service};
use super::world::World;

const PORT: u16 = 50051;

/// What a claim may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks `claim` in the world of `seed`, which chooses latencies and who goes first.
pub(super) fn run(seed: u64, claim: impl AsyncFn(&mut World) + Copy + Send + Sync + 'static) {
    let hosted = Arc::new(Mutex::new(None));
    let host_there = Arc::clone(&hosted);
    let load = Load::new(1..=1, Duration::ZERO, LIMIT..=LIMIT).kind("claim", "claim", sim::matching("claim"));
    let scenario = Scenario::new("contract", "a claim over the simulated network", load, Swarm::calm())
        .host("probe", move |host| serve(host, Arc::clone(&host_there)))
        .client("claim", move |host| {
            let hosted = Arc::clone(&hosted);
            move |_| check(claim, host.clone(), Arc::clone(&hosted))
        });
    let mut plan = sim::draw_plan(&scenario, seed, None);
    // A claim is made once; there is no fault to recover from.
    plan.probes.clear();
    let rehearsal = sim::rehearse(&scenario, &plan, Keep::Hash);
    assert_eq!(rehearsal.violation, None);
    assert!(rehearsal.calls[0].reply.as_ref().is_some_and(Reply::is_ok), "{:?}", rehearsal.calls);
}

/// What the host of the probe leaves for the one that checks.
type Hosted = Arc<Mutex<Option<(mpsc::UnboundedReceiver<Event>, Arc<Notify>)>>>;

async fn check(claim: impl AsyncFn(&mut World), host: HostContext, hosted: Hosted) -> Reply {
    let hosted = hosted.lock().expect("nobody panicked with it").take();
    let (events, free) = hosted.expect("the probe has started, and a claim is made once");
    let probe = probe::Client::new(client(&host));
    claim(&mut World { probe, events, free, _router: None, _folder: None }).await;
    Reply::ok("")
}

async fn serve(host: HostContext, hosted: Hosted) -> HostResult {
    let (service, events, free) = service(&probe::Client::new(client(&host)));
    *hosted.lock().expect("nobody panicked with it") = Some((events, free));
    let at = Listen::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    let listener = Simulated(host.listen(PORT).await?, at);
    machine::serve(listener, service, host.drain()).await;
    Ok(())
}

fn client(host: &HostContext) -> Client {
    let address = Address::Tcp { host: "probe".to_owned(), port: PORT };
    client_over(&host.net(), &[address], Keepalive::default())
}
