//! A world for each carrier.

use node::machine::Listener as _;
use probe_contract::probe;
use transport::memory::Memory;
use transport::{Client, ServiceClient as _};

use super::clients::{grpc_client, uri};
use super::limits::{LIMITS, SOON};
use super::probe::{host, service};
use super::runtime::run;
use super::world::World;
use super::{machine, simulated};

/// Runs `claim` in a world for each carrier.
pub(crate) fn on_every_carrier(claim: impl AsyncFn(&mut World) + Copy + Send + Sync + 'static) {
    for carrier in ["memory", "tcp", "unix"] {
        println!("over {carrier}:");
        run(async {
            let mut world = world(carrier).await;
            claim(&mut world).await;
        });
    }
    for seed in 0..3 {
        println!("over the simulated network of seed {seed}:");
        simulated::run(seed, claim);
    }
}

async fn world(carrier: &'static str) -> World {
    if carrier == "memory" {
        let memory = Memory::new();
        let probe = probe::Client::new(Client::new(memory.clone(), SOON, LIMITS));
        let (router, events, free) = host(&probe);
        memory.lead_to(&router);
        return World { probe, events, free, _router: Some(router), _folder: None };
    }
    let folder = (carrier == "unix").then(|| tempfile::tempdir().expect("a folder can be made"));
    let at = |folder: &tempfile::TempDir| format!("unix:{}", folder.path().join("probe").display());
    let socket = machine::socket(&folder.as_ref().map_or_else(|| "127.0.0.1:0".to_owned(), at)).await;
    let probe = probe::Client::new(grpc_client(&uri(&socket.address())));
    let (service, events, free) = service(&probe);
    tokio::task::spawn_local(machine::serve(socket, service, std::future::pending()));
    World { probe, events, free, _router: None, _folder: folder }
}
