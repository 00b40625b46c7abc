//! Starts a program such that it does not outlive whoever asked for it, however that ends.
//!
//! Linux sends a signal to a process whose parent dies, if that process has asked for it. A program that knows nothing of
//! this is started through ours, which asks and then becomes that program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The first argument by which our program is told to become another.
pub(crate) const GUARD: &str = "rehearse-guard";

/// The program that is started, and ours, through which it is.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// The name under which it is started, which programs that are several look at.
    pub(crate) name: String,
    /// Our own program.
    pub(crate) guard: PathBuf,
}

impl Program {
    /// The one at `path`, under its own name.
    pub(crate) fn at(path: PathBuf, guard: PathBuf) -> Self {
        let name = path.display().to_string();
        Self { path, name, guard }
    }

    /// Our own, under another name.
    pub(super) fn ours(&self, name: &str) -> Self {
        Self { path: self.guard.clone(), name: name.to_owned(), guard: self.guard.clone() }
    }

    /// The command that starts it. It sees nothing of the environment.
    pub(super) fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.guard);
        command.arg(GUARD).arg(std::process::id().to_string());
        command.arg(&self.path).arg(&self.name).args(arguments);
        command.env_clear().process_group(0);
        command
    }
}

/// Becomes the program that is named after the id of the parent; returns only when that fails.
pub(crate) fn become_program(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let missing =
        || io::Error::new(io::ErrorKind::InvalidInput, "expected a process id, a program and its name");
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok());
    let Some((parent, program)) = parent.zip(arguments.next()) else { return missing() };
    let Some(name) = arguments.next() else { return missing() };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have died before it was asked about.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return io::Error::new(io::ErrorKind::NotFound, "whoever started this is gone");
    }
    Command::new(program).arg0(name).args(arguments).exec()
}
