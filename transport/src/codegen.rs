//! What generated code names, so that the crate of a contract needs no other dependency.

pub use {actix, pbjson, prost, serde};
