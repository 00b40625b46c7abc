//! Clients of a probe that is elsewhere.

use std::sync::Arc;

use node::Listen;
use tokio::sync::mpsc;
use transport::grpc::{Grpc, Keepalive, Server};
use transport::net::Sockets;
use transport::policy::Policies;
use transport::{Address, CallerAddress, Client, Drain, Net, Router};

use super::limits::{LIMITS, SOON};
use super::ways;

/// Where callers find what listens.
pub(super) fn uri(listen: &Listen) -> String {
    match listen {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        tcp => format!("http://{tcp}"),
    }
}

/// A client that reaches `router` by gRPC, over connections in memory.
pub(crate) fn grpc_over_memory(router: Router) -> Client {
    let address: Address = "http://10.0.0.1:50051".parse().expect("a valid address");
    let (door, mut guests) = mpsc::unbounded_channel();
    let server = Server::new(router, SOON, Keepalive::default());
    tokio::task::spawn_local(async move {
        while let Some(guest) = guests.recv().await {
            let server = server.clone();
            tokio::task::spawn_local(async move {
                server.serve_connection(Box::new(guest), CallerAddress::Memory, Drain::new().work()).await;
            });
        }
    });
    let net: Arc<dyn Net> = Arc::new(ways::Ways(vec![(address.clone(), door)]));
    client_over(&net, &[address], Keepalive::default())
}

/// A client over real sockets.
pub(crate) fn grpc_client(address: &str) -> Client {
    client_of(&[address.to_owned()], Keepalive::default())
}

/// A client of a service with several addresses.
pub(crate) fn client_of(addresses: &[String], keepalive: Keepalive) -> Client {
    let addresses: Vec<Address> =
        addresses.iter().map(|address| address.parse().expect("a valid address")).collect();
    client_over(&(Arc::new(Sockets::default()) as Arc<dyn Net>), &addresses, keepalive)
}

/// A client of a service with several addresses, whose calls go by `policies`.
pub(crate) fn client_with(addresses: &[&str], policies: Policies) -> Client {
    let addresses: Vec<Address> =
        addresses.iter().map(|address| address.parse().expect("a valid address")).collect();
    let net = Arc::new(Sockets::default()) as Arc<dyn Net>;
    let carrier = Grpc::new("probe", &addresses, &net, Keepalive::default(), LIMITS.message_size);
    Client::with_policies("probe", carrier, policies, LIMITS)
}

pub(super) fn client_over(net: &Arc<dyn Net>, addresses: &[Address], keepalive: Keepalive) -> Client {
    let carrier = Grpc::new("probe", addresses, net, keepalive, LIMITS.message_size);
    Client::new(carrier, SOON, LIMITS)
}
