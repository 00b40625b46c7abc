//! One process: started, told by signals, read, and never left behind.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::unix::pipe;

use super::guard::Program;

/// A process that runs. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts `program` in `folder`, to which its relative paths lead; also returns what it will write to its standard
    /// output. Errors that it writes go to `errors`.
    pub(super) fn start(
        program: &Program,
        arguments: &[String],
        folder: &Path,
        errors: File,
    ) -> io::Result<(Self, pipe::Receiver)> {
        let mut command = program.command(arguments);
        command.current_dir(folder);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let output = child.stdout.take().expect("its standard output is a pipe");
        let process = Self(child);
        Ok((process, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
    }

    /// Sends it a signal. One that has ended hears nothing.
    pub(super) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        id.map(|id| kill_process(id, signal).ok());
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
