//! What a host of the simulation is given, and how the harness holds it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use transport::Net;

use crate::disk::Disk;
use crate::entropy::mix;
use crate::net::{Listener, SimNet};
use crate::plan::FaultKind;
use crate::stage;

/// Where a host is and what it may use.
#[derive(Debug, Clone)]
pub struct HostContext {
    name: Arc<str>,
    shared: Arc<HostShared>,
    choices: Arc<Choices>,
}

/// What the plan chose for the whole world.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) planted: Option<String>,
}

/// The part of a host that the harness reaches from outside.
#[derive(Debug)]
pub(crate) struct HostShared {
    pub(crate) is_paused: AtomicBool,
    pub(crate) has_left: AtomicBool,
    waker: AtomicWaker,
    drain: Signal,
    stopped: Notify,
    /// Whether its program has ever listened on a port.
    pub(crate) has_listened: AtomicBool,
    disks: Mutex<BTreeMap<String, Disk>>,
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

/// A fault that a call meets in the service that handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// The handler takes so much longer.
    Slow(Duration),
    /// The handler panics; [`planned_panic`] does it so that the harness knows.
    Panic,
    /// The service has no room for the call.
    Full,
}

impl HostContext {
    pub(crate) fn new(name: Arc<str>, shared: Arc<HostShared>, choices: Arc<Choices>) -> Self {
        shared.drain.clear();
        shared.has_left.store(false, Ordering::Relaxed);
        Self { name, shared, choices }
    }

    /// The host's name, by which others connect to it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes connections from this host.
    #[must_use]
    pub fn net(&self) -> Arc<dyn Net> {
        Arc::new(SimNet::new())
    }

    /// Listens on `port` of this host.
    ///
    /// # Errors
    /// When the host already listens there.
    pub async fn listen(&self, port: u16) -> io::Result<Listener> {
        let listener = Listener::bind(port).await?;
        self.shared.has_listened.store(true, Ordering::Relaxed);
        Ok(listener)
    }

    /// What the plan chose for one of the scenario's options.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.choices.options.get(name).map(String::as_str)
    }

    /// The name of the planted bug that the plan is about, if it is about one.
    #[must_use]
    pub fn planted(&self) -> Option<&str> {
        self.choices.planted.as_deref()
    }

    /// The disk of this name, which outlives the host's program; an empty one at first.
    #[must_use]
    pub fn disk(&self, name: &str) -> Disk {
        self.shared.disk(name)
    }

    /// Resolves when the host is told to drain. Its future then finishes what was accepted and returns.
    pub async fn drain(&self) {
        self.shared.drain.wait().await;
        stage::with(|stage| stage.effective(|fault| matches!(fault, FaultKind::Drain { .. })));
    }
}

/// The fault that a call about to be handled on this host meets. The scenario asks once for each call.
#[must_use]
pub fn call_fault() -> Option<CallFault> {
    stage::with(|stage| {
        let host = stage.current()?;
        let in_force = stage.faults.iter().filter(|fault| fault.active && fault.a == host);
        let fault = in_force.filter_map(|fault| as_call_fault(&fault.fault.what)).next()?;
        stage.effective(|kind| as_call_fault(kind) == Some(fault));
        Some(fault)
    })
    .flatten()
}

fn as_call_fault(kind: &FaultKind) -> Option<CallFault> {
    match kind {
        FaultKind::SlowHandler { delay, .. } => Some(CallFault::Slow(*delay)),
        FaultKind::PanickingHandler { .. } => Some(CallFault::Panic),
        FaultKind::FullService { .. } => Some(CallFault::Full),
        _ => None,
    }
}

thread_local! {
    static PLANNED: Cell<bool> = const { Cell::new(false) };
}

/// Panics on behalf of [`CallFault::Panic`]: any other panic fails the rehearsal, this one does not.
#[expect(clippy::panic, reason = "a panic is what was asked for")]
pub fn planned_panic() -> ! {
    PLANNED.set(true);
    panic!("a fault of the plan makes this handler panic")
}

/// Whether the panic that is under way was planned.
pub(crate) fn take_planned_panic() -> bool {
    PLANNED.replace(false)
}

impl HostShared {
    pub(crate) fn new() -> Self {
        Self {
            is_paused: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            drain: Signal::default(),
            stopped: Notify::new(),
            has_listened: AtomicBool::new(false),
            disks: Mutex::default(),
        }
    }

    fn disk(&self, name: &str) -> Disk {
        let mut disks = self.disks();
        disks.entry(name.to_owned()).or_insert_with(|| Disk::new(name)).clone()
    }

    fn disks(&self) -> MutexGuard<'_, BTreeMap<String, Disk>> {
        // A panic with the lock held leaves the map as it was.
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing reaches the disks from now on: who is dropped with the process must not write.
    pub(crate) fn stop_disks(&self) {
        self.disks().values().for_each(Disk::stop);
    }

    /// The disks serve the process that starts.
    pub(crate) fn start_disks(&self) {
        self.disks().values().for_each(Disk::start);
    }

    /// The power is gone: what was not synced is lost, but for what `draw` lets survive of it.
    pub(crate) fn lose_power(&self, seed: u64) {
        let disks: Vec<_> = self.disks().values().cloned().collect();
        for (place, disk) in disks.into_iter().enumerate() {
            disk.lose_power(mix(seed ^ place as u64));
        }
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.is_paused.store(paused, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn tell_to_drain(&self) {
        self.drain.set();
    }

    /// The process is gone, and its machine says so to all who are connecting.
    pub(crate) fn refuse(&self) {
        self.stopped.notify_waiters();
    }

    /// Resolves when the process goes and its machine stays.
    pub(crate) async fn refusal(&self) {
        self.stopped.notified().await;
    }

    /// Runs a host's program, with all local tasks it spawns, such that the harness can stop it in its tracks.
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
