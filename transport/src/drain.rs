//! How serving ends: no new connections, no new calls, calls in flight finish.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::gauges::{Gauge, Gauges, Holds, Reading};
use crate::latch::Latch;

/// The signal that serving ends, and the count of connections and background work that have not ended yet. Cheap
/// to clone.
///
/// Once it is [announced](Drain::announce), REST answers say `Connection: close`. Once it has [started](Drain::start), gRPC
/// connections send GOAWAY, idle connections end at once and others after the calls that they carry.
#[derive(Clone, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Default)]
struct Inner {
    announced: Latch,
    started: Latch,
    /// Connections, and work that outlives its call.
    open: AtomicUsize,
    ended: Notify,
}

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `gauges` tell what it would wait for.
    pub fn watch(&self, gauges: &Gauges) {
        gauges.watch(&self.0);
    }

    /// Says that it is about to start: the node is not ready any more, and serves as before.
    pub fn announce(&self) {
        self.0.announced.set();
    }

    /// Whether it was announced, or has started.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.0.announced.is_set()
    }

    /// Resolves when it is announced, or starts.
    pub async fn announced(&self) {
        self.0.announced.wait().await;
    }

    /// Starts it. Further starts do nothing.
    pub fn start(&self) {
        self.announce();
        self.0.started.set();
    }

    /// Whether it has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.0.started.is_set()
    }

    /// Resolves when it starts.
    pub async fn started(&self) {
        self.0.started.wait().await;
    }

    /// Counts one connection, or one piece of work that outlives its call, for as long as the returned value lives.
    #[must_use]
    pub fn work(&self) -> OpenWork {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        OpenWork(self.clone())
    }

    /// Resolves once nothing is left that was counted.
    pub async fn finished(&self) {
        loop {
            // Listening comes before looking, so that an end in between is not missed.
            let ended = self.0.ended.notified();
            if self.0.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Holds for Inner {
    fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::DrainWaitsFor, "", "", self.open.load(Ordering::SeqCst));
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("started", &self.has_started())
            .field("open", &self.0.open.load(Ordering::SeqCst))
            .finish()
    }
}

/// One connection, or one piece of background work, that the drain waits for.
#[derive(Debug)]
pub struct OpenWork(Drain);

impl OpenWork {
    /// Resolves when the drain starts.
    pub async fn drain_started(&self) {
        self.0.started().await;
    }
}

impl Drop for OpenWork {
    fn drop(&mut self) {
        if self.0.0.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.ended.notify_waiters();
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
        let connection = drain.work();
        let mut waits = Box::pin(connection.drain_started());
        assert!(waits.as_mut().now_or_never().is_none());
        drain.start();
        assert!(waits.now_or_never().is_some(), "one who waited is told");
        assert!(connection.drain_started().now_or_never().is_some(), "one who comes late is told");
        let mut finished = Box::pin(drain.finished());
        assert!(finished.as_mut().now_or_never().is_none());
        drop(connection);
        assert!(finished.now_or_never().is_some());
    }
    #[test]
    fn a_drain_is_announced_before_it_starts_or_when_it_does() {
        let (announced, started) = (Drain::new(), Drain::new());
        assert!(!announced.is_announced());
        let mut waits = Box::pin(announced.announced());
        assert!(waits.as_mut().now_or_never().is_none());
        announced.announce();
        started.start();
        assert!(waits.now_or_never().is_some(), "one who waited is told");
        assert!(started.announced().now_or_never().is_some(), "one who comes late is told");
        assert!(announced.is_announced() && !announced.has_started());
        assert!(started.is_announced() && started.has_started());
    }

    #[test]
    fn the_gauges_tell_for_how_much_a_drain_would_wait() {
        let (drain, gauges) = (Drain::new(), Gauges::new());
        drain.watch(&gauges);
        let waits_for = || gauges.read().sum(Gauge::DrainWaitsFor);
        let (first, second) = (drain.work(), drain.work());
        assert_eq!(waits_for(), 2);
        drop((first, second));
        assert_eq!(waits_for(), 0);
    }
}
