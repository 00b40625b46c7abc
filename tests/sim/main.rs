//! Rehearsals of the whole node: REST edge, gRPC edge, actors and carriers as in production, over a
//! simulated network, under faults drawn from a seed.
//!
//! `cargo test` rehearses a few seeds of every scenario, `cargo sim --help` tells how to rehearse many.

mod checks;
mod clients;
mod deadlines;
mod hosts;
mod scenarios;

fn main() -> std::process::ExitCode {
    let graveyard = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graveyard");
    sim::Runner::new(scenarios::all(), graveyard).main()
}
