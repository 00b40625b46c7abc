//! The toy's scenarios under the runner.

#[path = "toy/scenarios.rs"]
mod scenarios;
mod toy;

fn main() -> std::process::ExitCode {
    sim::Runner::new(scenarios::all(), concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graveyard")).main()
}
