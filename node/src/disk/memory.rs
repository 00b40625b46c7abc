//! A disk that is memory: for tests of actors that have one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Disk;

/// A log in the memory of this process. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        Ok(act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Disk for Memory {
    fn read(&self) -> io::Result<Vec<u8>> {
        self.with(|bytes| bytes.clone())
    }

    fn append(&self, more: &[u8]) -> io::Result<()> {
        self.with(|bytes| bytes.extend_from_slice(more))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn replace(&self, all: &[u8]) -> io::Result<()> {
        self.with(|bytes| *bytes = all.to_vec())
    }
}
