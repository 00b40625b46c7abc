//! The REST edge: HTTP/1.1 and JSON in front, the same router behind.
//!
//! Which routes there are is said in the contracts, by the `google.api.http` option. JSON is that of
//! protobuf's JSON mapping; fields of a request without a body come from path and query. Errors are
//! `application/problem+json` (RFC 9457).

mod bridge;
mod call;
mod connection;
mod headers;
mod host;
mod request;
mod server;
mod wire;

pub use headers::is_set_by_edge;
pub use server::{Options, Server};
