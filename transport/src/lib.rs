//! How a call reaches an actor, and survives the way.
//!
//! | module | what it holds |
//! |---|---|
//! | [`contract`] | what a contract says: [`Method`], [`Contract`], [`Body`], [`Streaming`] |
//! | [`call`] | what an actor sees of a call: [`Call`], [`Reply`] |
//! | [`context`] | what travels with a call: [`CallContext`], [`RequestId`] |
//! | [`router`] | from a path to an actor: [`Router`], [`Serve`], admission |
//! | [`client`] | typed calls, and the policies each goes through: [`Client`] |
//! | [`channel`] | the one seam between a call and what carries it: [`Channel`] |
//! | [`memory`], [`grpc`] | the carriers |
//! | [`net`] | the one seam between gRPC and the network: [`Net`] |
//! | [`rest`] | the REST edge |
//! | [`drain`] | how serving ends: [`Drain`] |
//! | [`mutant`] | bugs to plant, so that rehearsals can prove themselves |
//!
//! A third carrier, gRPC over a simulated network, is nothing but another [`Net`]; it lives in the
//! `sim` crate. This crate knows no service.

mod access;
pub mod call;
pub mod channel;
pub mod client;
pub mod context;
pub mod contract;
pub mod deadline;
pub mod drain;
pub mod grpc;
pub mod memory;
mod metadata;
pub mod mutant;
pub mod net;
pub mod payload;
mod request_id;
pub mod rest;
pub mod router;
pub mod status;

pub use call::{Call, Reply};
pub use channel::Channel;
pub use client::{Client, Peer, Peers};
pub use context::CallContext;
pub use contract::{Bind, Body, Contract, Idempotency, Method, Streaming};
pub use drain::Drain;
pub use net::{Address, Io, Net, PeerAddress};
pub use request_id::RequestId;
pub use router::{Binding, Interceptor, Limits, Router, Serve, ServiceEntry};
pub use tonic::{Code, Status};

/// What a call ends with: there is one error on the wire, and it is gRPC's.
pub type Result<T, E = Status> = std::result::Result<T, E>;
