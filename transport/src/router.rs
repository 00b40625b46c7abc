//! From a path to an endpoint: which services are here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::answers::Answers;
use crate::budget::{self, Budget};
use crate::call::Interceptor;
use crate::client::Client;
use crate::drain::Drain;
use crate::endpoint::Endpoint;
use crate::gauges::Gauges;
use crate::health;
use crate::kept::KeyBounds;
use crate::limits::Limits;
use crate::service::{Hosting, Service};

/// The most callers on one worker that watch how a service is: each connection of a caller may have one that does. Were
/// they as few as other streams, a busy node would be taken to be a sick one.
const WATCHES_MAX: usize = 25_600;

/// Finds the endpoint for a call. One for each worker; cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<RouterBuilder>);

/// A reference that does not keep the actors alive, for the clients that they hold themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct WeakRouter(Weak<RouterBuilder>);

impl WeakRouter {
    pub(crate) fn upgrade(&self) -> Option<Router> {
        self.0.upgrade().map(Router)
    }
}

impl Router {
    /// Starts with no services. What they take on is bounded by `limits`; `drain` is the node's, which they are told
    /// of and which waits for the work that outlives its calls.
    #[must_use]
    pub fn builder(limits: Limits, drain: Drain) -> RouterBuilder {
        let gauges = Gauges::new();
        let budget = Budget::new(budget::DEFAULT_MOST, &gauges);
        let answers = Answers::new(KeyBounds::default());
        answers.watch(&gauges);
        let (endpoints, order) = (HashMap::new(), Vec::new());
        let (interceptor, sheds) = (None, false);
        RouterBuilder { limits, drain, gauges, budget, answers, sheds, interceptor, endpoints, order }
    }

    pub(crate) fn downgrade(&self) -> WeakRouter {
        WeakRouter(Arc::downgrade(&self.0))
    }

    /// What each service takes on.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// What its services and its edges hold.
    pub(crate) fn gauges(&self) -> &Gauges {
        &self.0.gauges
    }

    /// What its edges hold for clients.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
    }

    pub(crate) fn endpoint(&self, path: &str) -> Option<Arc<Endpoint>> {
        self.0.endpoints.get(path).cloned()
    }

    /// All rpcs, in the order in which they were added.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.order.iter()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

/// A router in the making.
pub struct RouterBuilder {
    limits: Limits,
    drain: Drain,
    gauges: Gauges,
    budget: Arc<Budget>,
    answers: Answers,
    sheds: bool,
    interceptor: Option<Arc<dyn Interceptor>>,
    endpoints: HashMap<&'static str, Arc<Endpoint>>,
    order: Vec<Arc<Endpoint>>,
}

impl RouterBuilder {
    /// Lets `gauges` tell what the services hold that are added from now on, and the edges before the router.
    pub fn watch(&mut self, gauges: &Gauges) {
        self.gauges = gauges.clone();
        self.answers.watch(gauges);
        self.max_buffered(self.budget.most());
    }

    /// Bounds what the edges before the router hold for clients, in bytes.
    pub fn max_buffered(&mut self, most: usize) {
        self.budget = Budget::new(most, &self.gauges);
    }

    /// Shares `answers` with the other routers of the node, for the services that are added from now on: without, a call
    /// with an idempotency key that is repeated at another one is handled again.
    pub fn remember(&mut self, answers: &Answers) {
        self.answers = answers.clone();
    }

    /// Says whether the services that are added from now on refuse calls with less time left than they usually take.
    pub fn shed_by_deadline(&mut self, sheds: bool) {
        self.sheds = sheds;
    }

    /// Puts `interceptor` around the handlers of all services that are added from now on.
    pub fn intercept(&mut self, interceptor: Arc<dyn Interceptor>) {
        self.interceptor = Some(interceptor);
    }

    /// Hosts `service`; `client` gives the clients that it needs, by the names of the services. Must be called on the
    /// worker where the service is to be called.
    pub fn add(&mut self, service: &Service, client: &dyn Fn(&'static str) -> Client) {
        let (limits, interceptor) = (self.limits, self.interceptor.as_ref());
        let (drain, gauges, answers, sheds) = (&self.drain, &self.gauges, &self.answers, self.sheds);
        let hosting = Hosting { limits, drain, gauges, answers, sheds, interceptor, client };
        for endpoint in service.host(&hosting).into_iter().map(Arc::new) {
            self.endpoints.insert(endpoint.path, endpoint.clone());
            self.order.push(endpoint);
        }
    }

    /// Tells of the services that were added so far how they are, as gRPC's own protocol asks for it
    /// (`grpc.health.v1`). That is no service of the node's own: no interceptor is put around it, and it takes on as many
    /// streams as there may be connections.
    pub fn serve_health(&mut self) {
        let names = self.order.iter().map(|endpoint| health::full_name(endpoint.path).to_owned()).collect();
        let service = health::service(names, self.drain.clone());
        let (limits, interceptor) = (self.limits, self.interceptor.take());
        self.limits.streams = limits.streams.max(WATCHES_MAX);
        self.add(&service, &|name| unreachable!("the health of services is known without asking {name}"));
        (self.limits, self.interceptor) = (limits, interceptor);
    }

    /// The router, complete.
    #[must_use]
    pub fn build(self) -> Router {
        Router(Arc::new(self))
    }
}

impl fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Buffered;
    use crate::gauges::Gauge;

    #[test]
    fn a_router_that_is_told_nothing_lets_its_edges_hold_64_mib() {
        let router = Router::builder(Limits::default(), Drain::new()).build();
        assert_eq!(router.budget().most(), 64 << 20);
    }

    #[test]
    fn a_router_that_is_told_of_gauges_keeps_its_bounds_and_tells_what_it_holds() {
        let gauges = Gauges::new();
        let mut router = Router::builder(Limits::default(), Drain::new());
        router.max_buffered(1000);
        router.watch(&gauges);
        let router = router.build();
        let held = Buffered::alone(router.budget());
        held.take(1000).expect("there is room");
        held.take(1).expect_err("there is no more");
        assert_eq!(gauges.read().sum(Gauge::BufferedBytes), 1000);
    }
}
