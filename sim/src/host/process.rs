//! A host's process, as the simulator holds it from outside: it runs, pauses, is told to drain, and is gone.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::host::storage::Disks;

/// The part of a host that outlives its process. The simulator and the program reach it both.
#[derive(Debug, Default)]
pub(crate) struct HostShared {
    is_paused: AtomicBool,
    has_left: AtomicBool,
    has_listened: AtomicBool,
    waker: AtomicWaker,
    drain: Signal,
    settled: Signal,
    stopped: Notify,
    disks: Disks,
}

/// Something that many wait for and that happens once. tokio's `watch` would wake them in an order that no
/// seed determines.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_set: AtomicBool,
    waiters: Notify,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Relaxed);
        self.waiters.notify_waiters();
    }

    fn clear(&self) {
        self.is_set.store(false, Ordering::Relaxed);
    }

    pub(crate) async fn wait(&self) {
        let notified = self.waiters.notified();
        if !self.is_set.load(Ordering::Relaxed) {
            notified.await;
        }
    }
}

impl HostShared {
    /// A process is about to start.
    pub(crate) fn start(&self) {
        self.drain.clear();
        self.has_left.store(false, Ordering::Relaxed);
        self.disks.start();
    }

    /// The process is about to be gone. Nothing reaches the disks from now on: what is dropped with a process does not
    /// run on a real machine, so it must not write.
    pub(crate) fn stop(&self) {
        self.disks.stop();
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.is_paused.store(paused, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn tell_to_drain(&self) {
        self.drain.set();
    }

    /// Resolves when the process is told to drain.
    pub(crate) async fn drain(&self) {
        self.drain.wait().await;
    }

    pub(crate) fn tell_that_all_has_settled(&self) {
        self.settled.set();
    }

    /// Resolves when nothing is asked any more.
    pub(crate) async fn settled(&self) {
        self.settled.wait().await;
    }

    /// The process is gone, and its machine says so to all who are connecting.
    pub(crate) fn refuse(&self) {
        self.stopped.notify_waiters();
    }

    /// Resolves when the process goes and its machine stays.
    pub(crate) async fn refusal(&self) {
        self.stopped.notified().await;
    }

    pub(crate) fn disks(&self) -> &Disks {
        &self.disks
    }

    /// Whether its program has returned since it was started.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }

    /// Its program listens on a port.
    pub(crate) fn note_listener(&self) {
        self.has_listened.store(true, Ordering::Relaxed);
    }

    /// Whether its program has ever listened on a port.
    pub(crate) fn has_listened(&self) -> bool {
        self.has_listened.load(Ordering::Relaxed)
    }

    /// Runs a host's program, with all local tasks it spawns, such that the simulator can stop it in its tracks.
    ///
    /// A program that returns has left; its tasks and sockets go with it.
    pub(crate) async fn hold<T>(&self, program: impl Future<Output = T>) -> T {
        let tasks = LocalSet::new();
        let mut running = pin!(tasks.run_until(program));
        let result = std::future::poll_fn(|context| {
            if self.is_paused.load(Ordering::Relaxed) {
                self.waker.register(context.waker());
                return Poll::Pending;
            }
            running.as_mut().poll(context)
        })
        .await;
        self.has_left.store(true, Ordering::Relaxed);
        result
    }
}
