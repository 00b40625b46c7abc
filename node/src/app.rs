//! The services that a node can host, and how their actors are made.

use transport::{Clients, Keys, Serve, Service};

/// The services of one node. A node hosts all of them, or those that `--services` names; the others are called at the
/// addresses that `--peer` gives.
///
/// An app is one node's worth: an actor that is [in the node](App::service_in_node) once is there once for each app.
#[derive(Debug, Default)]
pub struct App {
    services: Vec<Service>,
}

impl App {
    /// An app without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the service that `A` serves, with one actor on each worker. `make` makes the actor of the clients that it
    /// needs, at the start and again after a panic; what it captures is shared by all workers.
    #[must_use]
    pub fn service<A: Serve, C: Clients>(self, make: impl Fn(C) -> A + Send + Sync + 'static) -> Self {
        self.add(Service::on_each_worker(make))
    }

    /// Adds the service that `A` serves, with one actor in the node, where all of its state is. Calls of other workers
    /// reach it at its address.
    #[must_use]
    pub fn service_in_node<A: Serve, C: Clients>(
        self,
        make: impl Fn(C) -> A + Send + Sync + 'static,
    ) -> Self {
        self.add(Service::in_node(make))
    }

    /// Adds the service that `A` serves, with one actor for each key of its requests.
    #[must_use]
    pub fn service_by_key<A: Serve, C: Clients>(
        self,
        keys: Keys,
        make: impl Fn(&str, C) -> A + Send + Sync + 'static,
    ) -> Self {
        self.add(Service::by_key(keys, make))
    }

    /// Adds a service that was made elsewhere.
    ///
    /// # Panics
    ///
    /// If the app has a service of this name.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "an app with one more service is no sum")]
    pub fn add(mut self, service: Service) -> Self {
        let name = service.name();
        assert!(self.services().iter().all(|other| other.name() != name), "two services are called {name}");
        self.services.push(service);
        self
    }

    /// The services, in the order in which they were added.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }
}

impl FromIterator<Service> for App {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        services.into_iter().fold(Self::new(), Self::add)
    }
}
