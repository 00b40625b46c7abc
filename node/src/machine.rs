//! What a node needs of the machine that it runs on.
//!
//! There are two machines: [this one](crate::this_machine::ThisMachine), and the simulated one of rehearsals. A node
//! accepts, serves and drains by the same code on both.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use transport::net::{CallerAddress, Io, Net};

use crate::config::Listen;
use crate::disk::Disk;

/// A machine: where a node listens, how it connects, and what runs its workers.
pub trait Machine {
    /// What listens at one address; it is deaf once it is dropped.
    type Listener: Listener;

    /// How connections to other nodes are made.
    fn net(&self) -> Arc<dyn Net>;

    /// Listens at `at`, which is never [`Listen::None`]. From when it has resolved, connections wait to be accepted.
    ///
    /// # Errors
    ///
    /// If the address is taken, or is none of this machine's.
    fn listen(&self, at: &Listen) -> impl Future<Output = io::Result<Self::Listener>>;

    /// The disk at `path`, empty if there was none. No other process has it as long as this one does.
    ///
    /// # Errors
    ///
    /// If another process has it, or it cannot be made or written to.
    fn disk(&self, path: &Path) -> io::Result<Arc<dyn Disk>>;

    /// Runs `main` where tasks can be spawned that stay on their thread (`tokio::task::spawn_local`): on a thread with
    /// a runtime of its own and this `name`, or as a task. What `main` resolves to ends when `main` has, whether it returned or
    /// panicked, and what it had spawned is dropped then.
    ///
    /// # Errors
    ///
    /// If the machine has no thread left.
    fn start_worker(&self, name: &str, main: WorkerMain) -> io::Result<WorkerEnd>;
}

/// Makes the program of one worker, on the thread where it is to run.
pub type WorkerMain = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Resolves when a worker has ended.
pub type WorkerEnd = LocalBoxFuture<'static, ()>;

/// What listens at one address.
pub trait Listener {
    /// Where it listens, with the port that was found where any was asked for.
    fn address(&self) -> Listen;

    /// The next connection. Nothing is lost when the returned future is dropped.
    ///
    /// # Errors
    ///
    /// If a connection was gone before it was accepted, or the machine has no room for it. It may be asked again.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted>>;
}

/// A connection that was accepted, and is to be opened by the worker that serves it.
pub struct Accepted {
    /// Who connected.
    pub caller: CallerAddress,
    /// Registers the connection with the runtime of the thread that it is called on.
    pub open: Box<dyn FnOnce() -> io::Result<Io> + Send>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("caller", &self.caller).finish_non_exhaustive()
    }
}
