//! How serving ends: no new connections, no new calls, calls in flight finish.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// The signal that serving ends, and the count of connections that have not ended yet. Cheap to clone.
///
/// Once it has [started](Drain::start), gRPC connections send GOAWAY, REST answers say `Connection: close`,
/// idle connections end at once and others after the calls that they carry.
#[derive(Clone)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Starts it. Further starts do nothing.
    pub fn start(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        *self.0.borrow()
    }

    /// Counts one connection for as long as the returned value lives.
    #[must_use]
    pub fn connection(&self) -> DrainWatch {
        DrainWatch(self.0.subscribe())
    }

    /// Resolves once no connection is left.
    pub async fn finished(&self) {
        self.0.closed().await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("started", &self.has_started())
            .field("connections", &self.0.receiver_count())
            .finish()
    }
}

/// One connection's view of the drain.
#[derive(Debug, Clone)]
pub struct DrainWatch(watch::Receiver<bool>);

impl DrainWatch {
    /// Resolves when the drain starts.
    pub async fn started(&mut self) {
        // An error means that the drain itself is gone, and with it whoever could start it.
        if self.0.wait_for(|started| *started).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_drain_is_finished_when_its_last_connection_ends() {
        let drain = Drain::new();
        let mut connection = drain.connection();
        assert!(connection.started().now_or_never().is_none());
        drain.start();
        assert!(connection.started().now_or_never().is_some());
        assert!(drain.finished().now_or_never().is_none());
        drop(connection);
        assert!(drain.finished().now_or_never().is_some());
    }
}
