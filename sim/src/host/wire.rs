//! The part of a connection that the simulator can reach.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// One end of a connection, from one host to another.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) local: usize,
    pub(crate) remote: usize,
    is_broken: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wire {
    pub(crate) fn new(local: usize, remote: usize) -> Self {
        let (reader, writer) = (AtomicWaker::new(), AtomicWaker::new());
        Self { local, remote, is_broken: AtomicBool::new(false), reader, writer }
    }

    /// Whether its ends are these two hosts, in either order.
    pub(crate) fn is_between(&self, one: usize, other: usize) -> bool {
        (self.local, self.remote) == (one, other) || (self.local, self.remote) == (other, one)
    }

    /// Resets this end of the connection.
    pub(crate) fn reset(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
        self.reader.wake();
        self.writer.wake();
    }

    /// Fails once it was reset.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.is_broken.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    /// Who reads is woken when it is reset.
    pub(crate) fn register_reader(&self, context: &Context<'_>) {
        self.reader.register(context.waker());
    }

    /// Who writes is woken when it is reset.
    pub(crate) fn register_writer(&self, context: &Context<'_>) {
        self.writer.register(context.waker());
    }
}
