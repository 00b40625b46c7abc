//! What outlives a process: one log of bytes, which can be added to and replaced as a whole.

mod files;
mod memory;

use std::io;

pub use self::files::Files;
pub use self::memory::Memory;

/// A log of bytes that outlives its process: a file in production ([`Files`]), a simulated disk in rehearsal, and
/// memory in tests ([`Memory`]).
///
/// | after | there is |
/// |---|---|
/// | the process was killed | all that was written |
/// | the machine lost its power | all that was written before the last [`sync`](Disk::sync) or [`replace`](Disk::replace) that returned `Ok`; of what was appended after it any part from its beginning |
///
/// So an append that was in progress may be there in part: whoever reads must be able to tell by what it wrote, such as
/// a length and a checksum before each record. Positions and sizes are bytes.
///
/// **Calls block** for as long as the device takes: microseconds for an append, milliseconds and more for a sync. An
/// actor that calls them holds up its worker, with all that is on it. One process at a time may use a disk.
pub trait Disk: Send + Sync {
    /// All that was written, empty if nothing ever was.
    ///
    /// # Errors
    ///
    /// If the device fails.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Writes `bytes` after all that was written before.
    ///
    /// # Errors
    ///
    /// If the device is full or fails; a part of `bytes` may have been written then.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when a power loss can take away nothing that was written before.
    ///
    /// # Errors
    ///
    /// If the device fails. What was written since the last sync may be lost then, also if a later one succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Puts `bytes` in the place of all that was written, at once: whatever happens meanwhile, there is all of the
    /// old or all of the new. It is synced when this returns.
    ///
    /// # Errors
    ///
    /// If the device is full or fails; all of the old or all of the new is there then.
    fn replace(&self, bytes: &[u8]) -> io::Result<()>;
}
