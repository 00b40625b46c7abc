//! The same calls under madsim-tonic: a program of its own, built with its own flags by its own cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::Error;

/// The kernel brings its account of a thread up to date a few hundred times a second.
const PRECISION_S: f64 = 0.004;

#[derive(Debug)]
pub(crate) struct Peer(PathBuf);

/// Builds the peer into cargo's folder for such things.
#[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
pub(crate) fn build() -> Result<Peer, Error> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/madsim");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peer-madsim");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let is_ours = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_TARGET_DIR"]
            .iter()
            .any(|ours| name == *ours);
        if is_ours {
            cargo.env_remove(name); // it has flags of its own, in its folder's .cargo
        }
    }
    // From its folder, for there cargo looks for the flags.
    let build = cargo.current_dir(source).args(["build", "--release", "--locked", "--quiet"]);
    run(build.arg("--target-dir").arg(&target))?;
    Ok(Peer(target.join("release/peer-madsim")))
}

impl Peer {
    /// Makes so many calls, `in_flight` at once; how many seconds of processor time they took.
    pub(crate) fn play(&self, calls: usize, in_flight: usize) -> Result<f64, Error> {
        let output = run(Command::new(&self.0).args([calls.to_string(), in_flight.to_string()]))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let seconds: f64 = said.trim().parse().map_err(|_| Error::Peer(format!("it said {said:?}")))?;
        Ok(seconds.max(PRECISION_S))
    }
}

fn run(command: &mut Command) -> Result<Output, Error> {
    let output =
        command.stdin(Stdio::null()).output().map_err(Error::io("starting the peer or its cargo"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Peer(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
