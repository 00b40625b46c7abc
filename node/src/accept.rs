//! The accept loop, the only one: connections go to the workers in turn.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::time::sleep;
use tracing::error;
use transport::Drain;

use crate::config::{Config, Listen};
use crate::machine::{Accepted, Listener, Machine};
use crate::start_error::StartError;
use crate::worker::Edge;
use crate::workers::Workers;

/// How long no connection is accepted after the machine had no room for one, such as a file descriptor.
const PAUSE: Duration = Duration::from_millis(500);

/// What listens for a node. Dropped, it is deaf.
pub(crate) struct Listeners<L> {
    http: Option<L>,
    grpc: Option<L>,
    /// Which of them is asked first: in turn, so that none has to wait for the other to be quiet.
    is_grpc_first: Cell<bool>,
}

impl<L: Listener> Listeners<L> {
    /// Binds the addresses of `config`: all of them, or none.
    pub(crate) async fn bind(
        machine: &impl Machine<Listener = L>,
        config: &Config,
    ) -> Result<Self, StartError> {
        let http = bind(machine, "http", &config.http).await?;
        let grpc = bind(machine, "grpc", &config.grpc).await?;
        Ok(Self { http, grpc, is_grpc_first: Cell::new(false) })
    }

    /// Where REST is served.
    pub(crate) fn http(&self) -> Listen {
        self.http.as_ref().map_or(Listen::None, L::address)
    }

    /// Where gRPC is served.
    pub(crate) fn grpc(&self) -> Listen {
        self.grpc.as_ref().map_or(Listen::None, L::address)
    }

    async fn accept(&self) -> (Edge, io::Result<Accepted>) {
        let is_grpc_first = self.is_grpc_first.replace(!self.is_grpc_first.get());
        let ((first, at_first), (second, at_second)) = if is_grpc_first {
            ((Edge::Grpc, &self.grpc), (Edge::Http, &self.http))
        } else {
            ((Edge::Http, &self.http), (Edge::Grpc, &self.grpc))
        };
        tokio::select! {
            biased;
            accepted = next(at_first) => (first, accepted),
            accepted = next(at_second) => (second, accepted),
        }
    }
}

/// Accepts connections and hands them to `workers`, until it is dropped.
pub(crate) async fn serve<L: Listener>(
    listeners: &Listeners<L>,
    workers: &Workers,
    drain: &Drain,
) -> Infallible {
    loop {
        // Room comes first: whoever cannot be served waits in the kernel's queue, which is bounded.
        let room = workers.room().await;
        match listeners.accept().await {
            (edge, Ok(accepted)) => room.take(edge, accepted, drain),
            (_, Err(error)) if is_of_one_connection(&error) => {}
            (_, Err(error)) => {
                error!(target: "node", %error, "cannot accept connections");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn bind<M: Machine>(
    machine: &M,
    key: &'static str,
    listen: &Listen,
) -> Result<Option<M::Listener>, StartError> {
    if *listen == Listen::None {
        return Ok(None);
    }
    let bound = machine.listen(listen).await;
    bound.map(Some).map_err(|source| StartError::Bind { key, address: listen.to_string(), source })
}

async fn next<L: Listener>(listener: &Option<L>) -> io::Result<Accepted> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

/// The client was gone before it was accepted; others are not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
