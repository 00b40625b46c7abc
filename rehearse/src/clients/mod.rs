//! Clients that share no code with the node, and what they say of a call for themselves.

mod codes;
mod grpc;
mod headers;
mod health;
mod http1;
mod rest;
mod words;

pub(crate) use codes::{code_named, http_status_of};
pub(crate) use grpc::connect as grpc;
pub(crate) use health::{HEALTH, Health, asked, connect as health, kinds_of as health_kinds};
pub(crate) use http1::get;
pub(crate) use rest::connect as rest;
pub use words::{BROKEN, GAVE_UP, HUNG_UP, MALFORMED, NOT_SENT};

/// The port on which every node serves REST.
pub(crate) const HTTP_PORT: u16 = 8080;

/// The port on which every node serves gRPC.
pub(crate) const GRPC_PORT: u16 = 50051;
