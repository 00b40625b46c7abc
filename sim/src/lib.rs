//! A deterministic world to rehearse services in: network, clocks, entropy, faults, checks.
//!
//! A [`Scenario`] says which hosts there are, who calls them, what may break and what must hold nevertheless. A
//! seed makes a [`Plan`] of it; the plan is played by [`rehearse`] on a thread of its own, and [`Runner`] plays
//! many. This crate knows no service: a host is any async program that listens and connects through its
//! [`HostContext`].
//!
//! # What is checked
//!
//! An [`Invariant`] must hold at every moment; it is told each log line, with its values in their types, each fact that a
//! host's program tells in a type of its own ([`tell`]), each fault as it begins and ends, and each call. An [`Eventual`]
//! promise must come true once all has healed and nothing is asked any more. Each says how often it had something to
//! judge. A scenario that is wrong under every plan, such as one with a host that never listens, or with faults on a
//! host that is not there, is told so ([`ViolationKind::SetUp`]).
//!
//! # What a host must not do
//!
//! * Start a thread, or use `spawn_blocking`. It is noticed and fails the seed.
//! * Use `tokio::select!` without `biased;`, or let several tasks wait for one `tokio::sync::watch`: tokio seeds the
//!   choice from a counter that outlives the simulation. Playing a plan twice notices it, but not each time. A
//!   `tokio::sync::Notify` wakes in the order in which its waiters came.
//! * Use `tokio::spawn` for what must end in order: the runtime keeps such tasks in lists by their ids, which count for the
//!   whole process, and a host that dies drops them in that order. `spawn_local` is in order.
//! * Keep state in a `static`, or iterate over a map whose hasher is neither fixed nor the standard library's
//!   (`foldhash` takes its keys from addresses). The headers of actix-http are such a map, and it writes those of a
//!   response in the order of the map.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use sim::{Address, EndsByDeadline, HostContext, HostResult, Keep, Load, Reply, Request, Scenario, Swarm};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! async fn echo(host: HostContext) -> HostResult {
//!     let listener = host.listen(7).await?;
//!     loop {
//!         let (mut io, _) = listener.accept().await?;
//!         let mut line = [0; 5];
//!         io.read_exact(&mut line).await?;
//!         io.write_all(&line).await?;
//!     }
//! }
//!
//! async fn call(host: HostContext, request: Request) -> std::io::Result<Reply> {
//!     let mut io = host.net().connect(&Address::Tcp { host: "echo".to_owned(), port: 7 }).await?;
//!     io.write_all(request.argument.as_bytes()).await?;
//!     let mut answer = [0; 5];
//!     io.read_exact(&mut answer).await?;
//!     Ok(Reply::ok(String::from_utf8_lossy(&answer)).with_request_id(Some(request.request_id())))
//! }
//!
//! let second = Duration::from_secs(1);
//! let load = Load::new(5..=5, second, second..=second).kind("caller", "echo", sim::matching("[a-z]{5}"));
//! let scenario = Scenario::new("echo", "nothing goes wrong", load, Swarm::calm())
//!     .host("echo", echo)
//!     .client("caller", |host| {
//!         move |request| {
//!             let host = host.clone();
//!             async move { call(host, request).await.unwrap_or_else(|error| Reply::failed("IO", error.to_string())) }
//!         }
//!     })
//!     .invariant(|| EndsByDeadline::with_grace(Duration::from_millis(1)));
//!
//! let first = sim::rehearse_seed(&scenario, 7, None, Keep::Hash);
//! assert_eq!(first.violation, None);
//! assert_eq!(first.trace_hash, sim::rehearse_seed(&scenario, 7, None, Keep::Hash).trace_hash);
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!(
    "sim runs on Linux only: it takes clock and entropy away from a program by the names that these functions have in \
     Linux' C libraries. Rehearse in a container or a virtual machine."
);

mod as_process;
mod call;
mod clients;
mod draw;
mod dress;
mod entropy;
mod faults;
mod host;
mod invariant;
mod load;
mod mistakes;
mod panics;
mod picks;
mod plan;
mod promises;
mod rehearsal;
mod report;
mod runner;
mod scenario;
mod set_up;
mod shrink;
mod swarm;
mod tempo;
mod trace;
mod violation;
mod why;
mod world;

pub use as_process::{AsProcess, Places, ProcessEnded, Said};
pub use call::{CallRecord, Reply};
pub use draw::plan as draw_plan;
pub use host::disk::Disk;
pub use host::net::host_at;
pub use host::net::{Listener, SimNet};
pub use host::turn::{poll_turn, turn};
pub use host::{CallFault, HostContext, call_fault, refuses_streams};
pub use invariant::{Eventual, Invariant, Wants};
pub use load::{Beside, Load, matching};
pub use net::{Address, Io, Net};
pub use panics::{caught, planned_panic};
pub use picks::Picks;
pub use plan::{DiskFails, Family, Fault, FaultKind, Network, Plan, Request};
pub use promises::{EndsByDeadline, LogsKnowTheirCaller, ReplyCarriesId};
pub use rehearsal::{Rehearsal, Summary, rehearse, rehearse_seed, rehearse_twice};
pub use report::page as report_page;
pub use runner::Runner;
pub use scenario::{CLIENTS, Dress, HostResult, Scenario};
pub use swarm::Swarm;
pub use tempo::Tempo;
pub use trace::difference::first_difference;
pub use trace::event::{CallStep, DiskUse, Event, Fact, Line, Passed, Phase, What};
pub use trace::questions::{Answer, Question, Questions};
pub use trace::recorder::{Keep, Written, tell};
pub use trace::value::{Fields, Value};
pub use tracing::Level;
pub use violation::{Violation, ViolationKind};
