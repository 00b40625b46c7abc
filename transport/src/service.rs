//! One service that a node can host: its contract, how its actor is made, and where that lives.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use actix::{Actor, Handler};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admission::Admission;
use crate::answers::Answers;
use crate::call::{Call, Interceptor};
use crate::client::{Client, Clients};
use crate::contract::{Contract, Method, Rpc};
use crate::drain::Drain;
use crate::endpoint::Endpoint;
use crate::gauges::Gauges;
use crate::keyed::{Keyed, Keys};
use crate::limits::Limits;
use crate::payload::MessageType;
use crate::place::{Locate, Make, NodeWide, Supervised};
use crate::transcode::Transcoder;

/// An actor that serves a contract. This and its handlers are all that the author of a service writes.
///
/// An actor that dies is started again with the next call, by the closure with which its [`Service`] was added.
pub trait Serve: Actor<Context = actix::Context<Self>> {
    /// The contract whose every rpc it handles.
    type Contract: Bind<Self>;
}

/// Binds every rpc of a contract to an actor. It exists for actors that handle all of them, so an
/// actor that lacks a handler does not compile.
pub trait Bind<A: Serve>: Contract {
    /// Names each rpc to `binding`.
    fn bind(binding: &mut Binding<'_, A>);
}

/// Where the actors of a service live, and so where its state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Each worker has an actor of its own. For services without state: no call crosses threads.
    EachWorker,
    /// One actor in the node, on one of its workers; calls of the other workers reach it by its address.
    InNode,
    /// One actor for each key, on one of the workers, started with the first call for its key.
    ByKey,
}

/// One service that a node can host, and how its actor is made. It belongs to one node.
pub struct Service {
    name: &'static str,
    rpcs: &'static [Rpc],
    callees: &'static [&'static str],
    placement: Placement,
    host: Box<Host>,
}

/// Makes the endpoints of a service on the worker that hosts it.
type Host = dyn Fn(&Hosting<'_>) -> Vec<Endpoint> + Send + Sync;

/// What a worker gives a service that it hosts.
pub(crate) struct Hosting<'a> {
    pub(crate) limits: Limits,
    pub(crate) drain: &'a Drain,
    pub(crate) gauges: &'a Gauges,
    pub(crate) answers: &'a Answers,
    /// Whether calls are refused that have less time left than usual.
    pub(crate) sheds: bool,
    pub(crate) interceptor: Option<&'a Arc<dyn Interceptor>>,
    /// The client of a service, by its name.
    pub(crate) client: &'a dyn Fn(&'static str) -> Client,
}

impl Hosting<'_> {
    fn admission<A: Serve>(&self) -> Arc<Admission> {
        Admission::new(<A::Contract as Contract>::NAME, self.limits, self.drain.clone(), self.gauges)
    }
}

impl Service {
    /// A service without state: `make` makes an actor for each worker, of the clients of the services that it calls.
    pub fn on_each_worker<A, C>(make: impl Fn(C) -> A + Send + Sync + 'static) -> Self
    where
        A: Serve,
        C: Clients,
    {
        let make = Arc::new(make);
        Self::new::<A, C>(Placement::EachWorker, move |hosting| {
            let (clients, make) = (C::connect(hosting.client), make.clone());
            let make: Make<A> = Arc::new(move || make(clients.clone()));
            let actor = Arc::new(Supervised::start(make));
            endpoints(hosting, hosting.admission::<A>(), actor)
        })
    }

    /// A service whose state is in one place: `make` makes its one actor in the node. Calls of other workers than
    /// its own reach it by its address. How many calls it takes on counts for the whole node.
    ///
    /// Should the actor die, or the thread that it lives on, the next call makes a new one on its own thread.
    pub fn in_node<A, C>(make: impl Fn(C) -> A + Send + Sync + 'static) -> Self
    where
        A: Serve,
        C: Clients,
    {
        let (make, node) = (Arc::new(make), Arc::new(NodeWide::<A>::default()));
        Self::new::<A, C>(Placement::InNode, move |hosting| {
            let (clients, make) = (C::connect(hosting.client), make.clone());
            let make: Make<A> = Arc::new(move || make(clients.clone()));
            let admission = node.admission(|| hosting.admission::<A>());
            endpoints(hosting, admission, Arc::new(node.join(make)))
        })
    }

    /// A service whose state is split by key: `make` makes the actor of a key when the first call for it comes.
    ///
    /// # Panics
    ///
    /// If `keys` does not say how each rpc of the contract is keyed.
    pub fn by_key<A, C>(keys: Keys, make: impl Fn(&str, C) -> A + Send + Sync + 'static) -> Self
    where
        A: Serve,
        C: Clients,
    {
        keys.check::<A::Contract>();
        let (make, keyed) =
            (Arc::new(make), Arc::new(Keyed::<A>::new(<A::Contract as Contract>::NAME, keys)));
        Self::new::<A, C>(Placement::ByKey, move |hosting| {
            let (clients, make) = (C::connect(hosting.client), make.clone());
            keyed.clone().join(hosting.gauges, move |key| make(key, clients.clone()));
            let admission = hosting.admission::<A>();
            endpoints(hosting, admission, Arc::new(keyed.clone()))
        })
    }

    fn new<A: Serve, C: Clients>(
        placement: Placement,
        host: impl Fn(&Hosting<'_>) -> Vec<Endpoint> + Send + Sync + 'static,
    ) -> Self {
        let (name, rpcs) = (<A::Contract as Contract>::NAME, <A::Contract as Contract>::METHODS);
        Self { name, rpcs, callees: C::NAMES, placement, host: Box::new(host) }
    }

    /// The name under which it is placed and called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its rpcs.
    #[must_use]
    pub fn rpcs(&self) -> &'static [Rpc] {
        self.rpcs
    }

    /// The names of the services that it calls.
    #[must_use]
    pub fn callees(&self) -> &'static [&'static str] {
        self.callees
    }

    /// Where its actors live.
    #[must_use]
    pub fn placement(&self) -> Placement {
        self.placement
    }

    pub(crate) fn host(&self, hosting: &Hosting<'_>) -> Vec<Endpoint> {
        (self.host)(hosting)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("placement", &self.placement).finish()
    }
}

fn endpoints<A: Serve>(
    hosting: &Hosting<'_>,
    admission: Arc<Admission>,
    actors: Arc<impl Locate<A> + 'static>,
) -> Vec<Endpoint> {
    let actors = actors as Arc<dyn Locate<A>>;
    let (interceptor, limit) = (hosting.interceptor.cloned(), hosting.limits.message_size);
    let (answers, sheds, endpoints) = (hosting.answers.clone(), hosting.sheds, Vec::new());
    let mut binding = Binding { actors: &actors, admission, answers, interceptor, limit, sheds, endpoints };
    <A::Contract as Bind<A>>::bind(&mut binding);
    binding.endpoints
}

/// Binds the rpcs of one service, one after the other, to its actors.
pub struct Binding<'a, A: Serve> {
    actors: &'a Arc<dyn Locate<A>>,
    admission: Arc<Admission>,
    answers: Answers,
    interceptor: Option<Arc<dyn Interceptor>>,
    limit: usize,
    sheds: bool,
    endpoints: Vec<Endpoint>,
}

impl<A: Serve> Binding<'_, A> {
    /// Binds the rpc `M`, which has no REST route.
    pub fn method<M: Method>(&mut self)
    where
        A: Handler<Call<M>>,
    {
        self.add::<M>(None);
    }

    /// Binds the rpc `M`, which has REST routes.
    pub fn method_with_routes<M: Method>(&mut self)
    where
        A: Handler<Call<M>>,
        M::Request: MessageType + DeserializeOwned,
        M::Response: MessageType + Serialize,
    {
        self.add::<M>(Some(Transcoder::of::<M>()));
    }

    fn add<M: Method>(&mut self, transcoder: Option<Transcoder>)
    where
        A: Handler<Call<M>>,
    {
        let (counted, interceptor) =
            ((self.admission.clone(), self.answers.clone()), self.interceptor.clone());
        let how = (transcoder, self.sheds);
        let endpoint = Endpoint::new::<A, M>(self.actors.clone(), counted, interceptor, self.limit, how);
        self.endpoints.push(endpoint);
    }
}

impl<A: Serve> fmt::Debug for Binding<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binding").field(&type_name::<A>()).finish()
    }
}
