//! What runs on one worker: the actors, and the edges that lead to them.
//!
//! Nothing here knows a socket, a thread or how connections are accepted.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::debug;
use transport::channel::{Request, Response};
use transport::drain::OpenWork;
use transport::grpc::{self, Grpc};
use transport::memory::Memory;
use transport::policy::Policies;
use transport::{Answers, Channel, Client, Drain, Net, Router, Service, Status, health, rest};

use crate::app::App;
use crate::config::{Config, Switch};
use crate::hooks::Hooks;
use crate::machine::Accepted;

/// What all workers of a node are made of.
pub(crate) struct Plan {
    pub(crate) app: App,
    pub(crate) config: Config,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) drain: Drain,
    pub(crate) answers: Answers,
    pub(crate) hooks: Hooks,
}

/// One of the two ports of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    Http,
    Grpc,
}

/// A connection on its way to its worker.
pub(crate) struct Connection {
    pub(crate) edge: Edge,
    pub(crate) accepted: Accepted,
    /// The drain waits for it from the moment when it was accepted.
    pub(crate) open: OpenWork,
    /// One of the connections that the worker may have.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The program of the worker `index`: serves what comes until nothing can come any more. Says so when it is `ready`.
pub(crate) async fn work(
    plan: Arc<Plan>,
    index: u16,
    mut connections: UnboundedReceiver<Connection>,
    ready: oneshot::Sender<()>,
) {
    let worker = Rc::new(Worker::start(&plan, index).await);
    // Whoever waited may have given up already; then nothing will come.
    ready.send(()).ok();
    while let Some(connection) = connections.recv().await {
        tokio::task::spawn_local(worker.clone().serve(connection));
    }
}

/// One worker of a node. It must stay on its thread.
struct Worker {
    rest: rest::Server,
    grpc: grpc::Server,
}

impl Worker {
    async fn start(plan: &Plan, index: u16) -> Self {
        let Plan { app, config, drain, answers, hooks, .. } = plan;
        let memory = Memory::new();
        let client = |service: &'static str| client(plan, service, &memory);
        let mut router = Router::builder(config.limits(), drain.clone());
        router.watch(&hooks.gauges);
        router.max_buffered(config.buffered());
        router.remember(answers);
        router.shed_by_deadline(config.shed_by_deadline == Switch::On);
        if let Some(interceptor) = &hooks.interceptor {
            router.intercept(interceptor(index));
        }
        for service in app.services().iter().filter(|service| config.hosts(service.name())) {
            router.add(service, &client);
        }
        router.serve_health();
        let router = router.build();
        memory.lead_to(&router);
        let rest = rest::Server::new(router.clone(), config.rest(), drain.clone()).await;
        Self { rest, grpc: grpc::Server::new(router, config.deadline, config.keepalive()) }
    }

    /// Serves one connection to its end.
    async fn serve(self: Rc<Self>, connection: Connection) {
        let Connection { edge, accepted, open, permit } = connection;
        let caller = accepted.caller;
        match (accepted.open)() {
            Ok(io) if edge == Edge::Http => self.rest.serve_connection(io, caller, open).await,
            Ok(io) => self.grpc.serve_connection(io, caller, open).await,
            Err(error) => debug!(target: "node", peer = %caller, %error, "a connection cannot be opened"),
        }
        drop(permit);
    }
}

/// Where a service is decides what carries the calls to it, and nothing else does.
fn client(plan: &Plan, service: &'static str, memory: &Memory) -> Client {
    let config = &plan.config;
    let known = plan.app.services().iter().find(|known| known.name() == service);
    let rpcs = known.map_or(&[][..], Service::rpcs);
    let policies = config.policies(service, rpcs);
    if config.hosts(service) {
        return over(plan, service, policies, memory.clone());
    }
    let (addresses, keepalive) = (config.addresses(service), config.keepalive());
    // The full name of the service, if its callees are asked whether they serve.
    let health = rpcs.first().filter(|_| policies.health_check).map(|rpc| health::full_name(rpc.path));
    let message_size = config.limits().message_size;
    let carrier = Grpc::with_health_check(service, addresses, &plan.net, keepalive, message_size, health);
    carrier.watch(&plan.hooks.gauges);
    over(plan, service, policies, carrier)
}

/// A client over `carrier`, which is boxed here only if a hook is to wrap it: the client boxes what it is given.
fn over<C>(plan: &Plan, callee: &'static str, policies: Policies, carrier: C) -> Client
where
    C: tower::Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
    C::Future: Send + 'static,
{
    let limits = plan.config.limits();
    let client = match &plan.hooks.carry {
        Some(wrap) => Client::with_policies(callee, wrap(callee, Channel::new(carrier)), policies, limits),
        None => Client::with_policies(callee, carrier, policies, limits),
    };
    client.watch(&plan.hooks.gauges);
    client
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::sync::Semaphore;
    use tokio::task::LocalSet;
    use transport::net::Sockets;
    use transport::{CallerAddress, Io};

    use super::*;
    use crate::config::tests::app;

    fn plan() -> Plan {
        let app = app();
        let config = Config::from_flags(&app, &["--workers", "1"]).expect("a configuration");
        let answers = Answers::new(config.idempotency_keys());
        let (net, drain, hooks) = (Arc::new(Sockets::default()), Drain::new(), Hooks::default());
        Plan { app, config, net, drain, answers, hooks }
    }

    /// What a connection is whose other end has gone.
    fn closed() -> io::Result<Io> {
        Ok(Box::new(tokio::io::duplex(1).0))
    }

    fn broken() -> io::Result<Io> {
        Err(io::ErrorKind::NotConnected.into())
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_makes_room_for_another() {
        let claim = async {
            let plan = plan();
            let worker = Rc::new(Worker::start(&plan, 0).await);
            let permits = Arc::new(Semaphore::new(1));
            let ends = [(Edge::Http, closed as fn() -> _), (Edge::Grpc, closed), (Edge::Grpc, broken)];
            for (edge, open) in ends {
                let permit = Arc::clone(&permits).try_acquire_owned().expect("the one before has ended");
                let accepted = Accepted { caller: CallerAddress::Unix, open: Box::new(open) };
                let connection = Connection { edge, accepted, open: plan.drain.work(), permit };
                Rc::clone(&worker).serve(connection).await;
            }
            assert_eq!(permits.available_permits(), 1);
        };
        LocalSet::new().run_until(claim).await;
    }
}
