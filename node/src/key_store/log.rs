//! The log of notes on its disk: appended to, synced, and written anew.

use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use transport::store::{Note, Recalled, What};

use super::frames::{self, HEAD};
use super::live::Live;
use crate::disk::Disk;
use crate::wall_clock::wall_clock;

/// A log may have so much that is old, in bytes, besides as much as there was when it was written anew.
const OLD_MAX: usize = 1024 * 1024;

/// The log of a store.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    kept_for: Duration,
    /// Its size, in bytes, and what it was when it was last written anew.
    size: usize,
    size_anew: usize,
    /// Whether something could not be written, so that nobody knows what its end is.
    is_broken: bool,
}

/// What a log had when it was opened.
pub(super) struct Found {
    pub(super) recalled: Vec<Recalled>,
    /// How many bytes of its end were not whole.
    pub(super) torn: usize,
}

impl Log {
    /// Reads what there is, and writes it anew: without an end that is not whole, which would be continued otherwise.
    ///
    /// # Errors
    ///
    /// If the disk fails, or has something else.
    pub(super) fn open(disk: Arc<dyn Disk>, kept_for: Duration) -> io::Result<(Self, Found)> {
        let (notes, torn) = frames::read(disk.read()?.into())?;
        let now = now();
        let mut live = Live::of(notes, now);
        live.give_up_running(later(now, kept_for));
        let mut log = Self { disk, kept_for, size: 0, size_anew: 0, is_broken: false };
        log.write_anew(&live)?;
        Ok((log, Found { recalled: live.recalled(now, kept_for), torn }))
    }

    /// Writes a note to the end. A power loss may take it until [`Self::sync`].
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub(super) fn append(&mut self, mut note: Note) -> io::Result<()> {
        if let Some(What::Ended(ended)) = &mut note.what {
            ended.until = later(now(), self.kept_for);
        }
        if self.is_broken || self.size > self.size_anew * 2 + OLD_MAX {
            let (notes, _) = frames::read(self.disk.read()?.into())?;
            self.write_anew(&Live::of(notes, now()))?;
        }
        let mut frame = Vec::new();
        frames::write(&note, &mut frame)?;
        let appended = self.disk.append(&frame);
        self.is_broken = appended.is_err();
        self.size += frame.len();
        appended
    }

    /// Returns when no power loss takes away what was appended.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.disk.sync();
        // What was written since the last sync may be lost then, whatever a later one says.
        self.is_broken |= synced.is_err();
        synced
    }

    fn write_anew(&mut self, live: &Live) -> io::Result<()> {
        let mut log = HEAD.to_vec();
        live.notes().try_for_each(|note| frames::write(&note, &mut log))?;
        self.disk.replace(&log)?;
        (self.size, self.size_anew, self.is_broken) = (log.len(), log.len(), false);
        Ok(())
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn later(now: u64, by: Duration) -> u64 {
    now.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}
