//! A store of idempotency keys on a disk: what `--idempotency-store` switches on.
//!
//! A log of notes, which is read at the start and written anew when most of it is old. One task writes it, on a thread of
//! its own where the machine has threads, so that no worker waits for the device; what workers ask for while it does is
//! written and synced together.

mod frames;
mod live;
mod log;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::mpsc::unbounded_channel;
use tracing::warn;
use transport::{Answers, KeyBounds};

use self::log::Log;
use self::writer::Keeper;
use crate::hooks::Pause;
use crate::machine::Machine;

/// Opens the store at `path`, or makes it, and returns a memory that it keeps.
///
/// # Errors
///
/// If another process has the file, if it is something else, or the machine has no thread left.
pub(crate) fn open(
    path: &Path,
    bounds: KeyBounds,
    machine: &impl Machine,
    before_sync: Option<Arc<Pause>>,
) -> io::Result<Answers> {
    let (log, found) = Log::open(machine.disk(path)?, bounds.kept_for)?;
    if found.torn > 0 {
        warn!(target: "node", path = %path.display(), bytes = found.torn, "the end of the idempotency store was not whole");
    }
    let (writes, queue) = unbounded_channel();
    let main = Box::new(move || writer::write(log, queue, before_sync).boxed_local());
    // It ends when nobody can ask for anything any more, and holds up no end: who was told an answer was told after a sync.
    drop(machine.start_worker("keys", main)?);
    Ok(Answers::stored(bounds, Arc::new(Keeper(writes)), found.recalled))
}
