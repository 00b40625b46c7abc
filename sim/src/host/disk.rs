//! A disk as a host's program uses it.

use std::io;
use std::sync::Arc;

use crate::host::storage::{Storage, Trouble};
use crate::plan::Family;
use crate::trace::event::{DiskUse, What};
use crate::trace::fingerprint::Fingerprint;
use crate::trace::recorder;

/// A log of bytes that outlives the program which writes it. Clones are the same disk.
///
/// A kill keeps all that was written. A power loss keeps what was synced, and of what was appended since then as many
/// bytes as the seed has it: any number, from the front. While the host is down, nothing is written.
#[derive(Debug, Clone)]
pub struct Disk {
    name: Arc<str>,
    storage: Arc<Storage>,
}

impl Disk {
    pub(crate) fn new((name, storage): (Arc<str>, Arc<Storage>)) -> Self {
        Self { name, storage }
    }

    /// All that is on it.
    ///
    /// # Errors
    /// When the host is down.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let bytes = self.storage.read().map_err(|trouble| self.failed("read", trouble))?;
        note("read", &self.name, &bytes);
        Ok(bytes)
    }

    /// Adds to its end. A power loss may take it, or a part of it, until [`Self::sync`].
    ///
    /// # Errors
    /// When the host is down, and nothing is written then; or when the disk fails, and half is.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.storage.append(bytes).map_err(|trouble| self.failed("append failed", trouble))?;
        note("append", &self.name, bytes);
        Ok(())
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// When the host is down, or the disk fails; nothing becomes durable then.
    pub fn sync(&self) -> io::Result<()> {
        self.storage.sync().map_err(|trouble| self.failed("sync failed", trouble))?;
        note("sync", &self.name, &[]);
        Ok(())
    }

    /// Puts `bytes` in the place of all that is on it, durably: there is either all of the old or all of the new.
    ///
    /// # Errors
    /// When the host is down, or the disk fails; the old bytes stay then.
    pub fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        self.storage.replace(bytes).map_err(|trouble| self.failed("replace failed", trouble))?;
        note("replace", &self.name, bytes);
        Ok(())
    }

    fn failed(&self, how: &'static str, trouble: Trouble) -> io::Error {
        match trouble {
            // Who hears this is being dropped with its process: nobody is left to act on it.
            Trouble::Stopped => io::Error::other("the host of this disk is down"),
            Trouble::Failing => {
                recorder::with(|recorder| recorder.meet(|fault| fault.family() == Family::FailingDisk));
                note(how, &self.name, &[]);
                io::ErrorKind::StorageFull.into()
            }
        }
    }
}

/// Tells the trace what was done with a disk.
pub(crate) fn note(how: &'static str, name: &Arc<str>, bytes: &[u8]) {
    let mut hash = Fingerprint::default();
    hash.bytes(name.as_bytes());
    hash.bytes(bytes);
    let hash = hash.value();
    recorder::with(|recorder| {
        recorder.push_frequent(how, &[hash], |_| {
            What::Disk(DiskUse { how, disk: Arc::clone(name), bytes: bytes.len(), hash })
        });
    });
}
