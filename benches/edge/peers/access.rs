//! One line for each request, as JSON, where a peer is to write them: by a thread of its own, as the node does.

use std::fs::OpenOptions;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use tracing::info;
use tracing_appender::non_blocking::WorkerGuard;

use crate::error::Error;

/// Has lines written to `log`; without one, a line costs no more than to find that nobody wants it.
pub(super) fn start(log: Option<&Path>) -> Result<Option<WorkerGuard>, Error> {
    let Some(log) = log else { return Ok(None) };
    let file = OpenOptions::new().append(true).create(true).open(log);
    let file = file.map_err(Error::io(format!("opening {}", log.display())))?;
    // The appender flushes whenever its queue is empty, so the buffer only saves it a system call a line.
    let (writer, guard) = tracing_appender::non_blocking(BufWriter::new(file));
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).init();
    Ok(Some(guard))
}

/// What a line says of an answer besides the request.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) start: Instant,
}

/// Writes the line of one request.
pub(super) fn line(method: &str, path: &str, answered: &Answered, request_id: &str) {
    let Answered { status, bytes, start } = answered;
    info!(
        method,
        path,
        status,
        duration_us = start.elapsed().as_micros() as u64,
        bytes,
        request_id,
        "request"
    );
}
