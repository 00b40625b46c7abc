//! Rehearses nodes: hosts made from the same app as in production, in a simulated world of faults drawn from a seed.

pub mod clients;
mod expect;
pub mod facts;
mod fold;
mod graph;
mod hooks;
mod host;
mod load;
mod machine;
mod nodes;
pub mod promises;
mod rpc;
mod scenario;
mod setting;
mod swarm;
mod time;
mod typed;

pub use expect::Expect;
pub use graph::Graph;
pub use host::{Choice, Disk, Host};
pub use load::{Load, Via};
pub use mimalloc::MiMalloc;
pub use proptest;
pub use rpc::{JsonMessage, StreamOf};
pub use scenario::Scenario;
pub use sim::{
    CLIENTS, CallRecord, Event, Eventual, Fact, Family, Fault, FaultKind, Invariant, Line, Phase, Reply,
    Request, Runner, Value, What, matching, tell,
};
pub use swarm::Swarm;
pub use time::Ms;
pub use transport::Code;
pub use typed::{answer, request};
