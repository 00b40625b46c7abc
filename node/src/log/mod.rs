//! Log lines: one JSON object each, or text for people. Written off the hot path.
//!
//! A line that belongs to a call carries its request id and service, taken from the call's context. It is put into a
//! buffer of its thread (`buffers.rs`); one thread (`writer.rs`) writes what is in the buffers of all, some milliseconds later.
//! Nobody waits for that thread: what does not fit is dropped and counted, and the end of the process waits for a bounded
//! time.

mod buffers;
mod clock;
mod fields;
mod json;
mod lines;
mod page;
mod sink;
mod style;
mod text;
mod writer;

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use tracing::error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::buffers::Buffers;
use self::lines::Lines;
pub use self::style::LogStyle;
use self::writer::Writer;
use crate::config::Config;

/// How long the end of the process waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Keeps the log of this process; when dropped, what waits is written, for at most a second.
#[derive(Debug)]
pub struct Log {
    writer: Writer,
}

/// Sends the log of this process to stdout, and panics to the log. Call it once.
///
/// # Errors
///
/// If the machine has no thread left, or no file descriptor.
pub fn start(config: &Config) -> io::Result<Log> {
    let LogStyle { filter, write } = LogStyle::of(config, io::stdout().is_terminal());
    let buffers = Buffers::new(config.workers.into());
    // Past the standard library's own handle: that has a lock, which would be held while a write is stuck.
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let writer = Writer::start(buffers.clone(), stdout)?;
    tracing_subscriber::registry().with(filter).with(Lines { write, buffers }).init();
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        error!(reason, location, "panic");
    }));
    Ok(Log { writer })
}

impl Log {
    /// Writes what was logged before, for at most `limit`.
    pub fn flush(&self, limit: Duration) {
        self.writer.flush(limit);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush(LAST_LINES);
    }
}
