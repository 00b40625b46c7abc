//! What runs on one thread: the actors, and the edges that lead to them.
//!
//! Nothing here knows a socket. In production actix-server brings the connections, in rehearsal the
//! simulation does.

use std::rc::Rc;
use std::sync::Arc;

use transport::grpc::{self, Grpc};
use transport::memory::Memory;
use transport::{CallerAddress, Client, Drain, Interceptor, Io, Net, Router, rest};

use crate::config::Config;

/// One worker of a node. It must stay on its thread.
#[derive(Debug)]
pub struct Worker {
    rest: rest::Server,
    grpc: grpc::Server,
    drain: Drain,
}

impl Worker {
    /// Starts the services of `config` on this thread. Calls to others go out through `net`. An
    /// `interceptor` runs in front of every handler; production has none.
    pub async fn start(
        config: &Config,
        net: Arc<dyn Net>,
        drain: Drain,
        interceptor: Option<Arc<dyn Interceptor>>,
    ) -> Rc<Self> {
        let memory = Memory::new();
        let client = |service: &'static str| client(config, service, &memory, &net);
        let mut router = Router::builder(config.limits(), drain.clone());
        if let Some(interceptor) = interceptor {
            router.intercept(interceptor);
        }
        for service in actors::services().iter().filter(|service| config.hosts(service.name())) {
            router.add(service, &client);
        }
        let router = router.build();
        memory.lead_to(&router);
        let options = rest::Options { deadline: config.deadline, headers: vec!["authorization".to_owned()] };
        let rest = rest::Server::new(router.clone(), options, drain.clone()).await;
        let (deadline, keepalive) = (config.deadline, config.keepalive());
        let grpc = grpc::Server::new(router, deadline, keepalive);
        Rc::new(Self { rest, grpc, drain })
    }

    /// Serves one accepted connection to the REST port, to its end.
    pub async fn serve_http(self: Rc<Self>, io: Io, caller: CallerAddress) {
        let connection = self.drain.work();
        self.rest.serve_connection(io, caller, connection).await;
    }

    /// Serves one accepted connection to the gRPC port, to its end.
    pub async fn serve_grpc(self: Rc<Self>, io: Io, caller: CallerAddress) {
        let connection = self.drain.work();
        self.grpc.serve_connection(io, caller, connection).await;
    }
}

/// Where a service is decides what carries the calls to it, and nothing else does.
fn client(config: &Config, service: &'static str, memory: &Memory, net: &Arc<dyn Net>) -> Client {
    let limits = config.limits();
    if config.hosts(service) {
        return Client::new(memory.clone(), config.deadline, limits);
    }
    let addresses = config.addresses(service);
    let carrier = Grpc::new(service, addresses, net, config.keepalive(), limits.message_size);
    Client::new(carrier, config.deadline, limits)
}
