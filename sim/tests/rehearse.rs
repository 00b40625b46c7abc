//! The toy's scenarios under the runner.

#[path = "toy/scenarios.rs"]
mod scenarios;
mod toy;

fn main() -> std::process::ExitCode {
    sim::Runner::new(env!("CARGO_MANIFEST_DIR")).scenarios(scenarios::all()).main()
}
