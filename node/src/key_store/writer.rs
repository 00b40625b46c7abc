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

/// Hands notes to the task that writes them. The queue needs no bound of its own: it has the notes of keys that are
/// remembered, which have one, in number and bytes.
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
