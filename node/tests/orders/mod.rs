//! A service without rpcs: what it takes to have an app.

use node::transport::Contract;
use node::transport::service::{Bind, Binding};
use node::{App, Serve, Service, actix};

/// The contract, and its actor.
pub(crate) struct Orders;

impl Contract for Orders {
    const NAME: &'static str = "orders";
    const METHODS: &'static [node::transport::Rpc] = &[];
}

impl actix::Actor for Orders {
    type Context = actix::Context<Self>;
}

impl Serve for Orders {
    type Contract = Self;
}

impl Bind<Self> for Orders {
    fn bind(_: &mut Binding<'_, Self>) {}
}

/// An app whose actors are made by `make`.
pub(crate) fn app(make: impl Fn() -> Orders + Send + Sync + 'static) -> App {
    App::new().add(Service::on_each_worker(move |()| make()))
}
