//! The services: one file, one actor.
//!
//! To add one: write its contract in `protos/`, copy a file here and write its handlers, and name it
//! in [`SERVICES`].

mod service1;
mod service2;

pub use service1::NameService;
pub use service2::GreetingService;
use transport::ServiceEntry;

/// Every service that a node can host.
pub const SERVICES: &[ServiceEntry] =
    &[ServiceEntry::of::<NameService>(), ServiceEntry::of::<GreetingService>()];
