//! Rehearsals of the whole node: REST edge, gRPC edge, actors and carriers as in production, over a
//! simulated network, under faults drawn from a seed.
//!
//! `cargo test` rehearses a few seeds of every scenario, `cargo sim --help` tells how to rehearse many.

mod checks;
mod scenarios;

/// A rehearsal builds a world and drops it in milliseconds, on a thread of its own: with glibc's allocator a seventh of
/// its time goes there.
#[global_allocator]
static ALLOCATOR: rehearse::MiMalloc = rehearse::MiMalloc;

fn main() -> std::process::ExitCode {
    let graveyard = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graveyard");
    let scenarios = scenarios::all().into_iter().map(Into::into).collect();
    rehearse::Runner::new(scenarios, graveyard).main()
}
