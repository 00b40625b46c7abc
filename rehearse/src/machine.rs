//! The machine of a rehearsed node: its listeners are simulated, its workers are local tasks of its host.

use std::io;
use std::path::Path;
use std::sync::Arc;

use node::machine::{Accepted, Listener, Machine, WorkerEnd, WorkerMain};
use node::{Disk, Listen};
use sim::HostContext;
use tokio::task::LocalSet;
use transport::{CallerAddress, Net};

use crate::hooks::ToldNet;
use crate::host::Host;

/// A host of the simulation, as a node sees it.
#[derive(Debug)]
pub(crate) struct Simulated(pub(crate) HostContext);

impl Machine for Simulated {
    type Listener = Listening;

    fn net(&self) -> Arc<dyn Net> {
        Arc::new(ToldNet(self.0.net()))
    }

    async fn listen(&self, at: &Listen) -> io::Result<Listening> {
        let Listen::Tcp(address) = at else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a simulation has no Unix sockets"));
        };
        Ok(Listening { at: at.clone(), listener: self.0.listen(address.port()).await? })
    }

    fn disk(&self, path: &Path) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(Host::simulated(self.0.clone()).disk(&path.to_string_lossy())))
    }

    /// All workers share the host's one thread; what one of them has spawned ends with it.
    fn start_worker(&self, _name: &str, main: WorkerMain) -> io::Result<WorkerEnd> {
        let worker = tokio::task::spawn_local(async move { LocalSet::new().run_until(main()).await });
        Ok(Box::pin(async move {
            // A worker that panicked has ended, too; the simulator reports the panic.
            worker.await.ok();
        }))
    }
}

/// Listens on a port of a host.
pub(crate) struct Listening {
    at: Listen,
    listener: sim::Listener,
}

impl Listener for Listening {
    fn address(&self) -> Listen {
        self.at.clone()
    }

    async fn accept(&self) -> io::Result<Accepted> {
        let (io, caller) = self.listener.accept().await?;
        Ok(Accepted { caller: CallerAddress::Tcp(caller), open: Box::new(move || Ok(io)) })
    }
}
