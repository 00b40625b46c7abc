//! What a host of the simulation is given, and how the harness holds it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use transport::Net;

use crate::net::{Listener, SimNet};
use crate::plan::FaultKind;
use crate::stage;

/// Where a host is and what it may use.
#[derive(Debug, Clone)]
pub struct HostContext {
    name: Arc<str>,
    shared: Arc<HostShared>,
    choices: Arc<Choices>,
    incarnation: u32,
}

/// What the plan chose for the whole world.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) mutant: Option<String>,
}

/// The part of a host that the harness reaches from outside.
#[derive(Debug)]
pub(crate) struct HostShared {
    pub(crate) is_paused: AtomicBool,
    pub(crate) has_left: AtomicBool,
    waker: AtomicWaker,
    drain: Signal,
    stopped: Notify,
    starts: AtomicU32,
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
        let incarnation = shared.starts.fetch_add(1, Ordering::Relaxed);
        shared.drain.clear();
        shared.has_left.store(false, Ordering::Relaxed);
        Self { name, shared, choices, incarnation }
    }

    /// The host's name, by which others connect to it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often the host was started before.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
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
        Listener::bind(port).await
    }

    /// What the plan chose for one of the scenario's options.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.choices.options.get(name).map(String::as_str)
    }

    /// The planted bug that is switched on, if one is.
    #[must_use]
    pub fn mutant(&self) -> Option<&str> {
        self.choices.mutant.as_deref()
    }

    /// Resolves when the host is told to drain. Its future then finishes what was accepted and returns.
    pub async fn drain(&self) {
        self.shared.drain.wait().await;
        stage::with(|stage| stage.bite(|fault| matches!(fault, FaultKind::Drain { .. })));
    }
}

/// The fault that a call about to be handled on this host meets. The scenario asks once for each call.
#[must_use]
pub fn call_fault() -> Option<CallFault> {
    stage::with(|stage| {
        let host = stage.current()?;
        let in_force = stage.faults.iter().filter(|fault| fault.active && fault.a == host);
        let fault = in_force.filter_map(|fault| as_call_fault(&fault.fault.what)).next()?;
        stage.bite(|kind| as_call_fault(kind) == Some(fault));
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
            starts: AtomicU32::new(0),
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
