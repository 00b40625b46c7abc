//! What a host of the simulation is given: its name, its network, its disks, and the faults that it is to act out.

pub(crate) mod disk;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod storage;
pub(crate) mod turn;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::net::Net;

use crate::plan::FaultKind;
use crate::trace::recorder;
use disk::Disk;
use net::{Listener, SimNet};
use process::HostShared;

/// Where a host is and what it may use.
#[derive(Debug, Clone)]
pub struct HostContext {
    name: Arc<str>,
    shared: Arc<HostShared>,
    choices: Arc<Choices>,
    net: Arc<dyn Net>,
}

/// What the plan chose for the whole world.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) planted: Option<String>,
}

/// A fault that a call meets in the service that handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// The handler takes so much longer.
    Slow(Duration),
    /// The handler panics; [`planned_panic`](crate::planned_panic) does it so that the simulator knows.
    Panic,
    /// The service has no room for the call.
    Full,
}

impl HostContext {
    /// The context of a process that starts.
    pub(crate) fn start(name: Arc<str>, shared: Arc<HostShared>, choices: Arc<Choices>) -> Self {
        shared.start();
        Self { name, shared, choices, net: Arc::new(SimNet::new()) }
    }

    /// The context of clients that call processes over `net`.
    pub(crate) fn outside(name: &str, choices: Arc<Choices>, net: Arc<dyn Net>) -> Self {
        Self { name: name.into(), shared: Arc::default(), choices, net }
    }

    /// The host's name, by which others connect to it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes connections from this host.
    #[must_use]
    pub fn net(&self) -> Arc<dyn Net> {
        Arc::clone(&self.net)
    }

    /// Listens on `port` of this host.
    ///
    /// # Errors
    /// When the host already listens there.
    pub async fn listen(&self, port: u16) -> io::Result<Listener> {
        let listener = Listener::bind(port).await?;
        self.shared.note_listener();
        Ok(listener)
    }

    /// The disk of this name, which outlives the host's program; an empty one at first.
    #[must_use]
    pub fn disk(&self, name: &str) -> Disk {
        Disk::new(self.shared.disks().get(name))
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

    /// Resolves when all has settled: every fault has healed, every probe works, and every call has its reply. What a
    /// program holds then for calls it has to let go of.
    pub async fn settled(&self) {
        self.shared.settled().await;
    }

    /// Resolves when the host is told to drain. Its future then finishes what was accepted and returns.
    pub async fn drain(&self) {
        self.shared.drain().await;
        recorder::with(|recorder| recorder.meet(|fault| matches!(fault, FaultKind::Drain { .. })));
    }
}

/// The fault that a call about to be handled on this host meets. The scenario asks once for each call.
///
/// # Panics
/// Where no rehearsal runs.
#[must_use]
pub fn call_fault() -> Option<CallFault> {
    recorder::with(|recorder| {
        let host = recorder.hosts.current()?;
        let fault = recorder.in_force.active_on(host).find_map(|state| as_call_fault(&state.fault.what))?;
        recorder.meet(|kind| as_call_fault(kind) == Some(fault));
        Some(fault)
    })
}

/// Whether the host that runs is to refuse the streams that are opened now, unread. Its program asks once for each.
///
/// # Panics
/// Where no rehearsal runs.
#[must_use]
pub fn refuses_streams() -> bool {
    let is_refusal = |kind: &FaultKind| matches!(kind, FaultKind::RefusedStreams { .. });
    recorder::with(|recorder| {
        let Some(host) = recorder.hosts.current() else { return false };
        let refuses = recorder.in_force.active_on(host).any(|state| is_refusal(&state.fault.what));
        if refuses {
            recorder.meet(is_refusal);
        }
        refuses
    })
}

fn as_call_fault(kind: &FaultKind) -> Option<CallFault> {
    match kind {
        FaultKind::SlowHandler { delay, .. } => Some(CallFault::Slow(*delay)),
        FaultKind::PanickingHandler { .. } => Some(CallFault::Panic),
        FaultKind::FullService { .. } => Some(CallFault::Full),
        _ => None,
    }
}
