//! A service that does what it is told, and a world in which any carrier leads to it.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

pub(crate) mod callee;
pub(crate) mod carrier;
mod clients;
pub(crate) mod counter;
mod everywhere;
pub(crate) mod http1;
mod limits;
pub(crate) mod log;
pub(crate) mod machine;
mod probe;
pub(crate) mod request;
mod runtime;
mod server;
mod simulated;
pub(crate) mod watched;
pub(crate) mod ways;
mod world;

pub(crate) use self::clients::{client_of, client_with, grpc_client, grpc_over_memory};
pub(crate) use self::everywhere::on_every_carrier;
pub(crate) use self::limits::{LIMITS, SOON};
pub(crate) use self::probe::{Event, ProbeActor, ProbeParts, failure, host, host_of, service};
pub(crate) use self::runtime::{run, run_in_no_time};
pub(crate) use self::server::TestServer;
pub(crate) use self::world::World;
