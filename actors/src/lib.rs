//! The services: one file, one actor.
//!
//! To add one: write its contract in `protos/`, copy a file here and write its handlers, and name it
//! in [`services`].

mod service1;
mod service2;

pub use service1::NameService;
pub use service2::GreetingService;
use transport::Service;

/// Every service that a node can host.
#[must_use]
pub fn services() -> Vec<Service> {
    vec![Service::on_each_worker(|()| NameService), Service::on_each_worker(GreetingService::new)]
}
