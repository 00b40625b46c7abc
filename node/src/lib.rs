//! A node: services in, a running process out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`app`] | the services that a node can host: [`App`] |
//! | [`config`] | flags, environment and file, checked: [`Config`] |
//! | [`program`] | the whole of a node's `main`: [`main`] |
//! | [`run`](mod@run) | a node from its start to the end of its drain: [`run`](run::run) |
//! | [`machine`] | what a node needs of the machine that it runs on: [`Machine`] |
//! | [`hooks`] | the seams for rehearsals: [`Hooks`] |
//! | [`disk`] | what outlives a process: [`Disk`] |
//! | [`log`] | log lines, off the hot path |
//!
//! This crate is where the real clock, real entropy, threads, the environment and signals enter. It knows no service.
//! It is the one dependency that a service needs: what its actors and its generated code use is here, too.

mod accept;
pub mod app;
pub mod config;
mod descriptors;
pub mod disk;
pub mod hooks;
mod key_store;
mod listen;
pub mod log;
pub mod machine;
mod memory;
pub mod program;
pub mod run;
mod start_error;
pub mod this_machine;
mod wall_clock;
mod worker;
mod workers;

pub use app::App;
pub use config::{Config, ConfigError, Listen};
pub use disk::Disk;
pub use hooks::Hooks;
pub use machine::Machine;
/// The allocator that nodes are measured with: a tenth of a request's instructions is memory that comes and goes, and
/// this one has less to do for it. It takes a line of `main.rs`:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: node::MiMalloc = node::MiMalloc;
/// ```
pub use mimalloc::MiMalloc;
pub use program::main;
pub use run::run;
pub use start_error::StartError;
pub use this_machine::ThisMachine;
pub use transport::tonic;
pub use transport::{
    Address, Call, CallContext, Client, Clients, Code, Drain, Keys, Reply, RequestId, Result, Serve, Service,
    ServiceClient, State, Status, Streaming,
};
pub use {actix, clap, tracing, transport};
