//! A disk of a simulated host: it outlives the process, and a power loss takes what was not synced.
//!
//! It is a log of bytes, as small as what a program needs for its state: to read all of it, to add to its end, to make
//! that durable, and to put something else in its place.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::stage;
use crate::trace::event::DiskUse;
use crate::trace::fingerprint::Fingerprint;

/// A log of bytes that outlives the program which writes it. Clones are the same disk.
///
/// A kill keeps all that was written. A power loss keeps what was synced, and of what was appended since then as many
/// bytes as the seed has it: any number, from the front. While the host is down, nothing is written.
#[derive(Debug, Clone)]
pub struct Disk {
    name: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// How many of them a power loss keeps for sure.
    synced: usize,
    /// Whether the host is down.
    is_stopped: bool,
}

impl Disk {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), state: Arc::default() }
    }

    /// All that is on it.
    ///
    /// # Errors
    /// When the host is down.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let bytes = self.running()?.bytes.clone();
        self.tell("read", &bytes);
        Ok(bytes)
    }

    /// Adds to its end. A power loss may take it, or a part of it, until [`Self::sync`].
    ///
    /// # Errors
    /// When the host is down; nothing is written then.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.running()?.bytes.extend_from_slice(bytes);
        self.tell("append", bytes);
        Ok(())
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// When the host is down; nothing becomes durable then.
    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.running()?;
        state.synced = state.bytes.len();
        drop(state);
        self.tell("sync", &[]);
        Ok(())
    }

    /// Puts `bytes` in the place of all that is on it, durably: there is either all of the old or all of the new.
    ///
    /// # Errors
    /// When the host is down; the old bytes stay then.
    pub fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.running()?;
        state.bytes = bytes.to_vec();
        state.synced = bytes.len();
        drop(state);
        self.tell("replace", bytes);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.state().is_stopped = true;
    }

    pub(crate) fn start(&self) {
        self.state().is_stopped = false;
    }

    /// Takes what was not synced; `draw` says how much of it survives.
    pub(crate) fn lose_power(&self, draw: u64) {
        let mut state = self.state();
        let unsynced = (state.bytes.len() - state.synced) as u64;
        let survives = usize::try_from(draw % (unsynced + 1)).unwrap_or_default();
        let kept = state.synced + survives;
        let lost = state.bytes.split_off(kept);
        state.synced = kept;
        drop(state);
        self.tell("lost", &lost);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        match state.is_stopped {
            true => Err(io::Error::other("the host of this disk is down")),
            false => Ok(state),
        }
    }

    fn tell(&self, how: &'static str, bytes: &[u8]) {
        let mut hash = Fingerprint::default();
        hash.bytes(bytes);
        let (disk, hash) = (Arc::clone(&self.name), hash.value());
        stage::with(|stage| stage.push_disk(DiskUse { how, disk, bytes: bytes.len(), hash }));
    }
}
