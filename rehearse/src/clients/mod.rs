//! Clients that share no code with the node, and what they say of a call for themselves.

mod codes;
mod grpc;
mod headers;
mod health;
mod http1;
mod ports;
mod rest;
mod strangers;
mod words;

pub(crate) use codes::{code_named, http_status_of};
pub(crate) use grpc::connect as grpc;
pub(crate) use health::{HEALTH, Health, asked, connect as health, kinds_of as health_kinds};
pub(crate) use http1::get;
pub(crate) use ports::{GRPC_PORT, HTTP_PORT};
pub(crate) use rest::connect as rest;
pub(crate) use strangers::{
    CUT_OFF, LEFT, SERVED, SOON, STRANGER, connect as strangers, kind_of as stranger_kind, visited,
};
pub use words::{BROKEN, GAVE_UP, HUNG_UP, MALFORMED, NOT_SENT};

/// Whether a call is none of the load's, but was made beside it.
pub(crate) fn is_beside(request: &sim::Request) -> bool {
    asked(request).is_some() || visited(request).is_some()
}
