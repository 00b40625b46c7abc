//! A node with a probe.

use std::sync::Arc;

use node::Listen;
use node::machine::Listener as _;
use probe_contract::probe;
use tokio::sync::{Notify, mpsc};
use transport::ServiceClient as _;

use super::clients::grpc_client;
use super::machine;
use super::probe::{Event, service};

/// A node with a probe behind a TCP port. Dropped, it is gone as a process is that was killed: the port is closed,
/// connections are broken.
pub(crate) struct TestServer {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    stop: Arc<Notify>,
    node: tokio::task::JoinHandle<()>,
}

impl TestServer {
    /// Starts one at `address`; port 0 takes a free one.
    pub(crate) async fn start(address: &str) -> Self {
        let socket = machine::socket(address).await;
        let Listen::Tcp(address) = socket.address() else { unreachable!("it is a TCP address") };
        let (service, events, _) = service(&probe::Client::new(grpc_client(&format!("http://{address}"))));
        let stop = Arc::new(Notify::new());
        let told = stop.clone();
        let told = async move { told.notified().await };
        let node = tokio::task::spawn_local(machine::serve(socket, service, told));
        Self { address, events, stop, node }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells it to drain.
    pub(crate) fn drain(&self) {
        self.stop.notify_one();
    }

    /// Whether it has drained.
    pub(crate) fn has_ended(&self) -> bool {
        self.node.is_finished()
    }

    /// Waits until it has drained.
    pub(crate) async fn ended(&mut self) {
        (&mut self.node).await.expect("a node does not panic");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.node.abort();
    }
}
