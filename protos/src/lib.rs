//! The contracts (`.proto` files, in folders that mirror their packages) and the code generated from
//! them, in modules that mirror the folders: `app/grpc/service1.proto` is [`app::grpc`], and its
//! service is [`app::grpc::service1`].

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; its documentation is that of the contracts"
)]
mod contracts {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

pub use contracts::*;
