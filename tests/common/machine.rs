//! A node of one service inside of a test, by production's own accept loop and drain: its machine has what listens already, and
//! its workers are local tasks, so that all of it ends with the test.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use node::machine::{Accepted, Listener, Machine, WorkerEnd, WorkerMain};
use node::this_machine::Socket;
use node::{App, Config, Disk, Hooks, Listen, ThisMachine};
use tokio::task::{LocalSet, spawn_local};
use transport::net::Sockets;
use transport::{CallerAddress, Net, Service};

use super::limits::{LIMITS, SOON};

/// A socket of this machine that listens at `address`; port 0 takes a free one.
pub(crate) async fn socket(address: &str) -> Socket {
    let at: Listen = address.parse().expect("a valid address");
    ThisMachine::default().listen(&at).await.expect("the address is free")
}

/// Serves `service` over gRPC at `listener` until `shutdown`, and drains then. If this is dropped, all of it ends.
pub(crate) async fn serve<L: Listener>(listener: L, service: Service, shutdown: impl Future<Output = ()>) {
    let app = App::new().add(service);
    let (at, deadline) = (listener.address().to_string(), format!("{}s", SOON.as_secs()));
    let [size, calls, streams] =
        [LIMITS.message_size, LIMITS.calls, LIMITS.streams].map(|limit| limit.to_string());
    let flags = [
        ["--http", "none"],
        ["--grpc", &at],
        ["--workers", "1"],
        ["--deadline", &deadline],
        ["--max-message-size", &size],
        ["--max-calls", &calls],
        ["--max-streams", &streams],
    ];
    let config = Config::from_flags(&app, flags.as_flattened()).expect("the flags are right");
    let machine = OfTest(RefCell::new(Some(listener)));
    node::run(app, config, &machine, Hooks::default(), shutdown)
        .await
        .expect("it serves until it is told to stop");
}

/// A machine with one listener.
struct OfTest<L>(RefCell<Option<L>>);

impl<L: Listener> Machine for OfTest<L> {
    type Listener = L;

    fn net(&self) -> Arc<dyn Net> {
        Arc::new(Sockets::default())
    }

    async fn listen(&self, _: &Listen) -> io::Result<L> {
        self.0.take().ok_or_else(|| io::ErrorKind::AddrInUse.into())
    }

    fn disk(&self, _: &Path) -> io::Result<Arc<dyn Disk>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn start_worker(&self, _name: &str, main: WorkerMain) -> io::Result<WorkerEnd> {
        let worker = spawn_local(async move { LocalSet::new().run_until(main()).await });
        Ok(Box::pin(async move { worker.await.expect("a worker does not panic") }))
    }
}

/// What listens on a simulated host.
pub(crate) struct Simulated(pub(crate) sim::Listener, pub(crate) Listen);

impl Listener for Simulated {
    fn address(&self) -> Listen {
        self.1.clone()
    }

    async fn accept(&self) -> io::Result<Accepted> {
        let (io, caller) = self.0.accept().await?;
        Ok(Accepted { caller: CallerAddress::Tcp(caller), open: Box::new(move || Ok(io)) })
    }
}
