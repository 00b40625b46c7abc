//! The node against a foreign gRPC stack, in both directions: Python's grpcio, driven by tests/peers/run.
//!
//! Where Python or its packages cannot be had, nothing is checked, and that is said. In CI it is a failure.

use std::io::ErrorKind;
use std::process::Command;

/// The exit code of the run when its environment cannot be made.
const CANNOT_CHECK: i32 = 77;

#[test]
fn the_node_and_python_peers_understand_each_other() {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/run");
    let ran = match Command::new("python3").arg(run).arg(env!("CARGO_BIN_EXE_node")).output() {
        Ok(ran) => ran,
        Err(error) if error.kind() == ErrorKind::NotFound => return not_checked("there is no python3"),
        Err(error) => panic!("python3: {error}"),
    };
    let (said, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if ran.status.code() == Some(CANNOT_CHECK) {
        return not_checked(&errors);
    }
    print!("{said}");
    assert!(ran.status.success(), "{}\n{said}{errors}", ran.status);
    assert!(said.lines().any(|line| line.starts_with("ok ")), "checks ran: {said}{errors}");
}

#[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
fn not_checked(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI this must be checked: {reason}");
    println!("NOT CHECKED against Python peers: {reason}");
}
