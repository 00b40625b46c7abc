//! Rehearsals of the whole node: REST edge, gRPC edge, actors and carriers as in production, over a
//! simulated network, under faults drawn from a seed.
//!
//! `cargo test` rehearses a few seeds of every scenario, `cargo sim --help` tells how to rehearse many.

mod checks;
mod clients;
mod deadlines;
mod faults;
mod grpc_client;
mod handlers;
mod hosts;
mod house;
mod scenarios;
mod statuses;

/// A rehearsal builds a world and drops it in milliseconds, on a thread of its own: with glibc's allocator a seventh of
/// its time goes there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sim::Runner::new(env!("CARGO_MANIFEST_DIR")).scenarios(scenarios::all()).main()
}
