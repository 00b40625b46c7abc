//! Rehearses nodes: hosts made from the same app as in production, called by clients typed by the contracts, in a
//! simulated world whose faults are drawn from a seed, and judged by promises that hold for all calls.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Scenario`] | a world: nodes, load, faults, promises |
//! | [`drawn`] | many worlds: what each seed picks |
//! | [`Foreign`] | a host that is no node, which nodes call |
//! | [`Host`] | what the app of a node is made of: disks, options |
//! | [`Load`], [`Expect`] | what clients call, and which answers are right |
//! | [`Swarm`] | which faults may happen, and where |
//! | [`promises`] | what must hold of calls, whatever the services |
//! | [`facts`] | what nodes and clients tell, as values |
//! | [`strangers`] | clients that speak as no library does, byte by byte |
//! | [`clients`] | what a client says of a call for itself |
//! | [`in_memory`] | an app without a node, for tests of its actors |
//!
//! A node runs as in production: [`node::run()`] with its accept loop, its workers and its drain, over a machine whose
//! network is simulated. The ways of calls follow from the app and the contracts; nothing is written down twice. It
//! knows no service, and is the one dev-dependency of a workspace that rehearses its own.
//!
//! # Example
//!
//! A test target with `harness = false` whose `main` ends with `Runner::main` rehearses a few seeds of each scenario
//! under `cargo test` (other ones each time, or from `REHEARSE_FROM` on), and many by `cargo test --test NAME -- rehearse`.
//!
//! ```
//! use node::actix::{Actor, Context, Handler};
//! use node::{App, Call, Reply, Serve, Status, Streaming};
//! use probe_contract::counter::{Add, AddAfterwards, AddLater, Counter, Watch};
//! use probe_contract::{AddRequest, Total};
//! use rehearse::proptest::prelude::*;
//! use rehearse::{Event, Expect, Load, Ms as _, Scenario, Swarm, Via, matching, promises};
//!
//! struct CounterActor(i64);
//! # impl Actor for CounterActor { type Context = Context<Self>; }
//! # impl Serve for CounterActor { type Contract = Counter; }
//! impl Handler<Call<Add>> for CounterActor {
//!     type Result = Reply<Add>;
//!     fn handle(&mut self, call: Call<Add>, _: &mut Context<Self>) -> Self::Result {
//!         call.answer_now(|request| {
//!             self.0 += request.amount;
//!             node::tracing::info!(total = self.0, "added");
//!             Ok(Total { total: self.0, before: self.0 - request.amount })
//!         })
//!     }
//! }
//! # impl Handler<Call<AddLater>> for CounterActor {
//! #     type Result = Reply<AddLater>;
//! #     fn handle(&mut self, call: Call<AddLater>, _: &mut Context<Self>) -> Self::Result {
//! #         call.answer_now(|_| Err(Status::unimplemented("")))
//! #     }
//! # }
//! # impl Handler<Call<AddAfterwards>> for CounterActor {
//! #     type Result = Reply<AddAfterwards>;
//! #     fn handle(&mut self, call: Call<AddAfterwards>, _: &mut Context<Self>) -> Self::Result {
//! #         call.answer_now(|_| Err(Status::unimplemented("")))
//! #     }
//! # }
//! # impl Handler<Call<Watch>> for CounterActor {
//! #     type Result = Reply<Watch>;
//! #     fn handle(&mut self, call: Call<Watch>, _: &mut Context<Self>) -> Self::Result {
//! #         call.answer_now(|_| Ok(Streaming::of([])))
//! #     }
//! # }
//!
//! fn it_grows(last: &mut i64, event: &Event) -> Result<(), String> {
//!     let Some(total) = event.field("total").and_then(rehearse::Value::as_i64) else { return Ok(()) };
//!     if std::mem::replace(last, total) < total { Ok(()) } else { Err(format!("no more than {total}")) }
//! }
//!
//! let requests = (matching("[ab]"), 1..9_i64).prop_map(|(key, amount)| AddRequest { key, amount });
//! let load = Load::new(20, 300.ms(), 300.ms()..=800.ms()).rpc::<Add>(Via::Rest, requests, Expect::ok());
//! let faults = Swarm::new(1..=2, 250.ms(), 50.ms()..=400.ms()).everywhere().of_links();
//! let scenario = Scenario::new("links", "the network breaks", load, faults)
//!     .nodes(&["counter"], |_| App::new().service_in_node(|()| CounterActor(0)))
//!     .promises(promises::of_calls())
//!     .fold("the total grows", it_grows)
//!     .eventually("something was added", |total: &i64| *total > 0);
//! # let played = sim::rehearse_seed(&scenario.into(), 7, None, sim::Keep::Hash);
//! # assert_eq!(played.violation, None);
//! ```

pub mod clients;
mod dress;
mod expect;
pub mod facts;
mod fold;
mod foreign;
mod framing;
mod graph;
mod hooks;
mod host;
mod ids;
mod in_memory;
mod load;
mod machine;
mod nodes;
pub mod promises;
mod rpc;
mod said;
mod scenario;
mod setting;
pub mod strangers;
mod swarm;
mod time;
mod typed;
mod visits;
mod world;
mod worlds;

pub use expect::Expect;
pub use foreign::{Failed, Foreign};
pub use host::{Choice, Disk, Host};
pub use in_memory::in_memory;
pub use load::{Load, Via};
/// The allocator that rehearsals are measured with: each builds a world and drops it in milliseconds, on a thread of
/// its own, and with glibc's a seventh of its time goes there. It takes a line of the test target:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: rehearse::MiMalloc = rehearse::MiMalloc;
/// ```
pub use mimalloc::MiMalloc;
pub use proptest;
pub use rpc::{JsonMessage, StreamOf};
pub use scenario::Scenario;
pub use sim::{
    Answer, CLIENTS, CallFault, CallRecord, DiskFails, Event, Eventual, Fact, Family, Fault, FaultKind,
    Invariant, Line, Phase, Picks, Question, Questions, Reply, Request, Runner, Value, Wants, What, matching,
    tell,
};
pub use swarm::Swarm;
pub use time::Ms;
pub use transport::Code;
pub use typed::{answer, request, requests};
pub use worlds::drawn;
