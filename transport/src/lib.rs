//! How a call reaches an actor, and survives the way.
//!
//! Each file imports only from those that come behind it in this table, read from the top down and from left to right, and
//! nothing imports from here.
//!
//! | module | what it holds |
//! |---|---|
//! | [`codegen`] | what generated code names, so that the crate of a contract needs no other dependency |
//! | [`rest`], [`grpc`], [`memory`] | the edges and the carriers |
//! | `problem`, `access` | errors over HTTP, and access lines: what the edges share |
//! | [`router`] | from a path to an endpoint: [`Router`] |
//! | [`health`] | how services are, as gRPC's own protocol tells it |
//! | [`service`] | one service: its contract, its actor, and where that lives: [`Service`], [`Serve`] |
//! | `once`, `endpoint`, `keyed`, `place`, `transcode`, `with_path` | how a call gets to its actor, if it is not answered already: [`Keys`] |
//! | `background`, [`call`], `state`, `witness` | what an actor sees of a call, and the work that outlives it: [`Call`], [`Reply`], [`State`] |
//! | [`client`], `record`, `deadline`, `in_flight`, `gradient` | typed calls, and the policies each goes through: [`Client`] |
//! | `breaker`, `circuit`, `failures` | whether calls to a service go out |
//! | `attempts`, `repeat`, `latencies`, `tokens` | when a call is repeated, and how it is hedged |
//! | [`channel`] | the one seam between a call and what carries it: [`Channel`] |
//! | [`trail`] | where the attempts of a call went |
//! | [`policy`] | what holds for the calls to a service, as plain data: [`Policies`](policy::Policies) |
//! | `streaming`, [`context`] | streams of messages, and what travels with a call: [`Streaming`], [`CallContext`] |
//! | [`answers`], `kept` | what calls with idempotency keys came to: [`Answers`], [`KeyBounds`] |
//! | [`store`], `outcome` | the one seam between that memory and what keeps it beyond the end of the process: [`KeyStore`](store::KeyStore) |
//! | `admission`, `awaiting`, `budget`, `usual` | how much a service takes on, and who gives way where it is full; how many bytes a worker holds; how long calls usually take |
//! | [`contract`], [`payload`] | what a contract says, and what a carrier carries: [`Method`], [`Contract`], [`Body`] |
//! | [`drain`] | how serving ends: [`Drain`] |
//! | `tasks` | tasks of the transport's own, counted while they are there |
//! | [`gauges`] | what a node holds at the moment: [`Gauges`] |
//! | `timer`, `latch`, `chance` | timers that are used again, what happens once and is waited for, and how waits are spread |
//! | `metadata`, `key`, [`status`], [`cut`] | whose metadata are whose, idempotency keys, the one error on the wire: [`Status`] |
//! | [`net`] | the one seam between gRPC and the network: [`Net`] |
//! | `request_id`, `criticality`, `limits`, `timeout`, [`route`], [`well_known`], `number` | ids, bounds, `grpc-timeout`, REST routes as data, times and numbers in messages: [`RequestId`], [`Criticality`], [`Limits`] |
//!
//! A third carrier, gRPC over a simulated network, is nothing but another [`Net`]. This crate knows no service.

mod access;
mod admission;
pub mod answers;
mod attempts;
mod awaiting;
mod background;
mod breaker;
mod budget;
pub mod call;
mod chance;
pub mod channel;
mod circuit;
pub mod client;
pub mod codegen;
pub mod context;
pub mod contract;
mod criticality;
pub mod cut;
mod deadline;
pub mod drain;
mod endpoint;
mod failures;
pub mod gauges;
mod gradient;
pub mod grpc;
pub mod health;
mod in_flight;
mod kept;
mod key;
mod keyed;
mod latch;
mod latencies;
mod limits;
pub mod memory;
mod metadata;
pub mod net;
mod number;
mod once;
mod outcome;
pub mod payload;
mod place;
pub mod policy;
mod problem;
mod record;
mod repeat;
mod request_id;
pub mod rest;
pub mod route;
pub mod router;
pub mod service;
mod state;
pub mod status;
pub mod store;
mod streaming;
mod tasks;
mod timeout;
mod timer;
mod tokens;
pub mod trail;
mod transcode;
mod usual;
pub mod well_known;
mod with_path;
mod witness;

pub use answers::Answers;
pub use call::{Call, Held, Interceptor, Reply};
pub use channel::Channel;
pub use client::{Client, Clients, ServiceClient};
pub use context::CallContext;
pub use contract::{Body, Contract, Field, Idempotency, Method, Rpc};
pub use criticality::Criticality;
pub use drain::Drain;
pub use gauges::Gauges;
pub use kept::KeyBounds;
pub use keyed::Keys;
pub use limits::Limits;
pub use net::{Address, CallerAddress, Io, Net};
pub use request_id::RequestId;
pub use route::Route;
pub use router::Router;
pub use service::{Bind, Binding, Placement, Serve, Service};
pub use state::State;
pub use status::{Code, Result, Status};
pub use streaming::Streaming;
/// What calls and answers with metadata of their own are made of: [`tonic::Request`], [`tonic::metadata`].
pub use tonic;
