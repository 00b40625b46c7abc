//! The machine of production: its sockets, and a thread for each worker.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tracing::error;
use transport::net::{Net, Sockets};

use crate::config::Listen;
use crate::disk::{Disk, Files};
use crate::listen::Listening;
use crate::machine::{Accepted, Listener, Machine, WorkerEnd, WorkerMain};

/// The machine that this process runs on. Needs a tokio runtime with I/O.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine {
    /// When a TCP connection is dead whose other end acknowledges nothing; never if nobody says.
    pub dead_after: Option<Duration>,
}

impl Machine for ThisMachine {
    type Listener = Socket;

    fn net(&self) -> Arc<dyn Net> {
        Arc::new(Sockets { dead_after: self.dead_after })
    }

    async fn listen(&self, at: &Listen) -> io::Result<Socket> {
        Listening::at(at, Sockets { dead_after: self.dead_after }).map(Socket)
    }

    fn disk(&self, path: &Path) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(Files::open_alone(path)?))
    }

    #[allow(clippy::disallowed_methods, reason = "this is where a node's threads are made")]
    fn start_worker(&self, name: &str, main: WorkerMain) -> io::Result<WorkerEnd> {
        let (running, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let name = name.to_owned();
        thread.spawn(move || {
            // Dropped when the thread ends, also by a panic.
            let _running = running;
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(async { main().await }),
                Err(error) => error!(target: "node", name, %error, "a thread has no runtime"),
            }
        })?;
        Ok(ended.map(|_| ()).boxed_local())
    }
}

/// A socket of this machine that listens.
#[derive(Debug)]
pub struct Socket(Listening);

impl Listener for Socket {
    fn address(&self) -> Listen {
        self.0.address()
    }

    async fn accept(&self) -> io::Result<Accepted> {
        self.0.accept().await
    }
}
