//! The task that writes the log, and what workers hand their notes to.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tracing::error;
use transport::store::{KeyStore, Note};

use super::log::Log;
use crate::hooks::Pause;

/// The most notes that one sync is waited for.
const TOGETHER: usize = 1024;

/// Hands notes to the task that writes them. The queue needs no bound of its own: each key that is remembered waits
/// for one note at most, and these keys have a bound in number and bytes. That a key is forgotten stands behind a note that was
/// waited for, and before the next that is.
pub(super) struct Keeper(pub(super) UnboundedSender<Write>);

/// A note that is to be written.
pub(super) struct Write {
    note: Note,
    kept: oneshot::Sender<io::Result<()>>,
}

impl KeyStore for Keeper {
    fn keep(&self, note: Note) -> BoxFuture<'static, io::Result<()>> {
        let (kept, is_kept) = oneshot::channel();
        // An error means that the task has gone, as does that nobody answers.
        self.0.send(Write { note, kept }).ok();
        let gone = |_| Err(io::Error::other("nobody writes the store any more"));
        Box::pin(async move { is_kept.await.unwrap_or_else(gone) })
    }
}

/// Writes what comes to `log` until nothing can come any more.
pub(super) async fn write(
    mut log: Log,
    mut queue: UnboundedReceiver<Write>,
    before_sync: Option<Arc<Pause>>,
) {
    let mut writes = Vec::new();
    while queue.recv_many(&mut writes, TOGETHER).await > 0 {
        let (notes, waiting): (Vec<_>, Vec<_>) =
            writes.drain(..).map(|Write { note, kept }| (note, kept)).unzip();
        let mut written = notes.into_iter().try_for_each(|note| log.append(note));
        if let Some(pause) = &before_sync {
            pause().await;
        }
        written = written.and_then(|()| log.sync());
        if let Err(error) = &written {
            error!(target: "node", %error, notes = waiting.len(), "idempotency keys cannot be kept");
        }
        for kept in waiting {
            let written =
                written.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()));
            // An error means that whoever asked does not wait.
            kept.send(written).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::LocalSet;
    use transport::store::{Forgotten, What};

    use super::*;
    use crate::disk::{Disk, Memory};

    /// Counts how often it was synced.
    #[derive(Clone, Default)]
    struct Counted(Memory, Arc<AtomicUsize>);

    impl Disk for Counted {
        fn read(&self) -> io::Result<Vec<u8>> {
            self.0.read()
        }

        fn append(&self, bytes: &[u8]) -> io::Result<()> {
            self.0.append(bytes)
        }

        fn sync(&self) -> io::Result<()> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.sync()
        }

        fn replace(&self, bytes: &[u8]) -> io::Result<()> {
            self.0.replace(bytes)
        }
    }

    fn note() -> Note {
        let what = Some(What::Forgotten(Forgotten {}));
        Note { service: "tally".to_owned(), key: "k".to_owned(), what }
    }

    #[tokio::test]
    async fn what_is_asked_for_while_the_disk_syncs_is_synced_together() {
        let disk = Counted::default();
        let (log, _) = Log::open(Arc::new(disk.clone()), Duration::from_secs(1)).expect("it is empty");
        let (writes, queue) = unbounded_channel();
        let keeper = Keeper(writes);
        let kept = join_all((0..100).map(|_| keeper.keep(note())));
        LocalSet::new()
            .run_until(async {
                let task = tokio::task::spawn_local(write(log, queue, None));
                kept.await.into_iter().for_each(|kept| kept.expect("it is kept"));
                drop(keeper);
                task.await.expect("it ends when nothing can come any more");
            })
            .await;
        assert_eq!(disk.1.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_nobody_writes_is_not_kept() {
        let (writes, queue) = unbounded_channel();
        drop(queue);
        let kept = Keeper(writes).keep(note()).now_or_never().expect("it does not wait");
        assert_eq!(kept.expect_err("nobody writes").to_string(), "nobody writes the store any more");
    }
}
