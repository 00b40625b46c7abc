//! The state of the rehearsal that runs on this thread: who is on, what happened, what was found.
//!
//! Sockets, log lines, clients and the harness all report here, by [`with`]. It is a thread-local because it
//! must be reached from inside any code of any host; it is one struct because all of it ends together.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::call::{CallRecord, Reply};
use crate::entropy;
use crate::host::HostShared;
use crate::invariant::Invariant;
use crate::net::Wire;
use crate::plan::{Fault, FaultKind, Plan, Request};
use crate::rehearsal::Keep;
use crate::spans::Spans;
use crate::trace::{Event, EventKind, Fields, Fingerprint};

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// What happens on this thread.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) hosts: Vec<HostState>,
    pub(crate) spans: Spans,
    pub(crate) calls: Vec<CallRecord>,
    /// Indices into `calls` of those that wait for a reply.
    pub(crate) in_flight: Vec<usize>,
    pub(crate) faults: Vec<FaultState>,
    pub(crate) wires: Vec<Weak<Wire>>,
    pub(crate) violation: Option<Violation>,
    pub(crate) events: Option<Vec<Event>>,
    /// What happened so far, unless nothing is to be kept of it.
    fingerprint: Option<Fingerprint>,
    checks: Vec<Box<dyn Invariant>>,
    current: Option<usize>,
    /// The name of what is on no host: the harness.
    nowhere: Arc<str>,
    tick_start: Duration,
    warm_up: Duration,
    origin: tokio::time::Instant,
    wall_reads: u64,
    yields: u64,
    yield_percent: u64,
}

/// One host, as the harness knows it.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) name: Arc<str>,
    pub(crate) address: IpAddr,
    pub(crate) shared: Arc<HostShared>,
    pub(crate) status: Status,
}

/// Whether a host's machine and process are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    /// The process is gone, the machine refuses connections.
    Stopped,
    /// The machine is gone, and nothing answers.
    Dark,
}

/// One fault of the plan, while the rehearsal runs.
#[derive(Debug)]
pub(crate) struct FaultState {
    pub(crate) fault: Fault,
    pub(crate) a: usize,
    pub(crate) b: Option<usize>,
    pub(crate) active: bool,
    /// Whether it touched a call.
    pub(crate) bit: bool,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: String,
    /// What was seen instead.
    pub detail: String,
    /// When, counted from the start of the simulation.
    pub at: Duration,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {} ms)", self.invariant, self.detail, self.at.as_millis())
    }
}

/// Puts `stage` on this thread.
pub(crate) fn install(stage: Stage) {
    STAGE.set(Some(stage));
}

/// Takes the stage off this thread.
pub(crate) fn take() -> Option<Stage> {
    STAGE.take()
}

/// Runs `work` on this thread's stage; `None` where there is none, or from inside `work` itself.
pub(crate) fn with<T>(work: impl FnOnce(&mut Stage) -> T) -> Option<T> {
    STAGE.with(|stage| stage.try_borrow_mut().ok()?.as_mut().map(work))
}

impl Stage {
    #[expect(clippy::disallowed_methods, reason = "this is where virtual time starts")]
    pub(crate) fn new(plan: &Plan, warm_up: Duration, checks: Vec<Box<dyn Invariant>>, keep: Keep) -> Self {
        Self {
            hosts: Vec::new(),
            spans: Spans::default(),
            calls: Vec::new(),
            in_flight: Vec::new(),
            faults: Vec::new(),
            wires: Vec::new(),
            violation: None,
            events: (keep == Keep::Trace).then(Vec::new),
            fingerprint: (keep != Keep::Nothing).then(Fingerprint::default),
            checks,
            current: None,
            nowhere: "".into(),
            tick_start: Duration::ZERO,
            warm_up,
            origin: (std::time::Instant::now() + warm_up).into(),
            wall_reads: entropy::wall_reads(),
            yields: entropy::mix(plan.seed),
            yield_percent: u64::from(plan.network.yield_percent),
        }
    }

    pub(crate) fn trace_hash(&self) -> u64 {
        self.fingerprint.map_or(0, Fingerprint::value)
    }

    /// The virtual time, exact within a tick.
    ///
    /// A host's tokio clock starts with the host's runtime, which turmoil first lets sleep a millisecond.
    pub(crate) fn now(&self) -> Duration {
        const RUNTIME_HEAD_START: Duration = Duration::from_millis(1);
        if self.current.is_none() {
            return self.tick_start;
        }
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.origin);
        elapsed.saturating_sub(RUNTIME_HEAD_START).max(self.tick_start)
    }

    pub(crate) fn start_tick(&mut self, now: Duration) {
        self.tick_start = now;
        entropy::set_now(self.warm_up + now);
    }

    /// The host that runs from now on; `None` for the harness.
    pub(crate) fn enter(&mut self, host: Option<usize>) {
        if entropy::wall_reads() != self.wall_reads {
            self.bite(FaultKind::is_of_clock);
            self.wall_reads = entropy::wall_reads();
        }
        self.current = host;
        let offset = host.map_or(0, |host| self.wall_offset_nanos(host));
        entropy::set_wall_offset(offset);
    }

    pub(crate) fn host_named(&self, name: &str) -> Option<usize> {
        self.hosts.iter().position(|host| &*host.name == name)
    }

    pub(crate) fn host_at(&self, address: IpAddr) -> Option<usize> {
        let of_peer = self.hosts.iter().position(|host| host.address == address);
        of_peer.or(self.current)
    }

    pub(crate) fn current(&self) -> Option<usize> {
        self.current
    }

    /// Whether the task that asks should let others go first, as the seed has it.
    pub(crate) fn should_yield(&mut self) -> bool {
        self.yields = self.yields.wrapping_add(0x9E37_79B9_7F4A_7C15);
        entropy::mix(self.yields) % 100 < self.yield_percent
    }

    /// How far the host's wall clock is off: the sum of the clock faults in force.
    fn wall_offset_nanos(&self, host: usize) -> i64 {
        let in_force = self.faults.iter().filter(|fault| fault.active && fault.a == host);
        let offset = |state: &FaultState| match &state.fault.what {
            FaultKind::ClockSkew { by_ms, .. } | FaultKind::ClockJump { by_ms, .. } => by_ms * 1_000_000,
            FaultKind::ClockDrift { ppm, .. } => {
                let lasted = self.tick_start.saturating_sub(state.fault.from);
                ppm * i64::try_from(lasted.as_micros()).unwrap_or(i64::MAX) / 1_000
            }
            _ => 0,
        };
        in_force.map(offset).sum()
    }

    /// Notes a violation; the first one counts.
    pub(crate) fn violate(&mut self, invariant: &str, detail: impl Into<String>) {
        if self.violation.is_none() {
            let (invariant, detail, at) = (invariant.to_owned(), detail.into(), self.now());
            self.violation = Some(Violation { invariant, detail, at });
        }
    }

    /// Hashes `event`, shows it to every invariant, and keeps it if the trace is kept.
    pub(crate) fn push(&mut self, event: Event) {
        if let Some(fingerprint) = self.stamp(event.at, event.kind, &event.text) {
            // The names follow from the place in the code, and that from the text.
            event.fields.iter().for_each(|(_, value)| fingerprint.bytes(value.as_bytes()));
        }
        self.ask(|check| check.event(&event));
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// Hashes what is too frequent to become an [`Event`] in every run: `fill` makes one only if it is kept. Its time
    /// is hashed by the tick: the order within it says more, and costs nothing.
    pub(crate) fn push_frequent(
        &mut self,
        kind: EventKind,
        text: &str,
        numbers: &[u64],
        fill: impl FnOnce(&Self) -> Fields,
    ) {
        if let Some(fingerprint) = self.stamp(self.tick_start, kind, text) {
            numbers.iter().for_each(|number| fingerprint.number(*number));
        }
        self.keep(kind, text, None, fill);
    }

    /// Hashes that a call began or ended, and keeps it if the trace is kept. Invariants are shown the call itself.
    fn push_call(
        &mut self,
        at: Duration,
        text: &str,
        id: &str,
        said: [&str; 2],
        fill: impl FnOnce() -> Fields,
    ) {
        if let Some(fingerprint) = self.stamp(at, EventKind::Call, text) {
            fingerprint.bytes(id.as_bytes());
            said.iter().for_each(|text| fingerprint.bytes(text.as_bytes()));
        }
        self.keep(EventKind::Call, text, Some(id), |_| fill());
    }

    /// Keeps an event that is neither hashed nor checked here, if the trace is kept.
    pub(crate) fn keep(
        &mut self,
        kind: EventKind,
        text: &str,
        id: Option<&str>,
        fill: impl FnOnce(&Self) -> Fields,
    ) {
        if self.events.is_some() {
            let event = self.event(kind, text, id.map(str::to_owned), fill(self));
            self.events.get_or_insert_default().push(event);
        }
    }

    /// An event that happens here and now.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        text: impl Into<String>,
        request_id: Option<String>,
        fields: Fields,
    ) -> Event {
        let host =
            self.current.map_or_else(|| Arc::clone(&self.nowhere), |host| Arc::clone(&self.hosts[host].name));
        let request = request_id.as_deref().and_then(Request::number_of);
        Event { at: self.now(), host, kind, text: text.into(), request_id, request, fields }
    }

    /// Whether anything is kept of what happens.
    pub(crate) fn is_traced(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// Hashes when and where something happens; the fingerprint, for what else there is to hash.
    fn stamp(&mut self, at: Duration, kind: EventKind, text: &str) -> Option<&mut Fingerprint> {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let host = self.current.map_or(u64::MAX, |host| host as u64);
        let fingerprint = self.fingerprint.as_mut()?;
        fingerprint.number(nanos);
        fingerprint.number((host << 8) | kind as u64);
        fingerprint.bytes(text.as_bytes());
        Some(fingerprint)
    }

    fn ask(&mut self, mut question: impl FnMut(&mut dyn Invariant) -> Result<(), String>) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            if let Err(detail) = question(check.as_mut()) {
                self.violate(check.name(), detail);
            }
        }
        self.checks = checks;
    }

    /// A client makes a call; returns the number under which it ends.
    pub(crate) fn start_call(&mut self, request: &Request, is_probe: bool) -> usize {
        let (started, request_id) = (self.now(), request.request_id());
        // What is called, and how, follows from the plan.
        self.push_call(started, "call started", &request_id, [&request.argument, ""], || {
            vec![
                ("client", request.client.clone().into()),
                ("kind", request.kind.clone().into()),
                ("argument", request.argument.clone().into()),
                ("deadline_ms", request.deadline.as_millis().to_string().into()),
            ]
        });
        let active = self.faults.iter().filter(|fault| fault.active);
        let faults = active.map(|fault| fault.fault.what.name()).collect();
        let request = request.clone();
        let call = CallRecord { request, request_id, started, ended: None, reply: None, is_probe, faults };
        self.ask(|check| check.call_started(&call));
        self.calls.push(call);
        self.in_flight.push(self.calls.len() - 1);
        self.calls.len() - 1
    }

    /// A client has its reply.
    pub(crate) fn end_call(&mut self, number: usize, reply: Reply) {
        let (at, id) = (self.now(), self.calls[number].request_id.clone());
        self.push_call(at, "call ended", &id, [&reply.status, &reply.value], || {
            vec![("status", reply.status.clone().into()), ("value", reply.value.clone().into())]
        });
        self.in_flight.retain(|other| *other != number);
        let mut calls = std::mem::take(&mut self.calls);
        let call = &mut calls[number];
        call.ended = Some(at);
        call.reply = Some(reply);
        self.ask(|check| check.call_ended(call));
        self.calls = calls;
    }

    /// Shows the invariants the end of a tick: what has not happened by now is visible here.
    pub(crate) fn end_tick(&mut self) {
        let (waiting, calls) = (std::mem::take(&mut self.in_flight), std::mem::take(&mut self.calls));
        let now = self.tick_start;
        for number in &waiting {
            self.ask(|check| check.call_waiting(&calls[*number], now));
        }
        (self.in_flight, self.calls) = (waiting, calls);
    }

    /// Shows the invariants the whole.
    pub(crate) fn finish(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        self.ask(|check| check.finished(&calls));
        self.calls = calls;
    }

    /// Traffic passed between two hosts: link faults between them, and host faults at either end, bite if a
    /// call is in flight.
    pub(crate) fn touch(&mut self, one: usize, other: usize) {
        if self.in_flight.is_empty() {
            return;
        }
        for state in self.faults.iter_mut().filter(|state| state.active && !state.bit) {
            state.bit = match state.b {
                Some(b) => (state.a, b) == (one, other) || (state.a, b) == (other, one),
                None => state.fault.what.stops_host() && (state.a == one || state.a == other),
            };
        }
    }

    /// The program asked for, and met, a fault of this sort on the host that runs.
    pub(crate) fn bite(&mut self, is_this: impl Fn(&FaultKind) -> bool) {
        let current = self.current;
        let here = self.faults.iter_mut().filter(|state| state.active && Some(state.a) == current);
        for state in here.filter(|state| is_this(&state.fault.what)) {
            state.bit = true;
        }
    }
}

impl FaultKind {
    /// Whether the host neither sends nor receives while the fault lasts.
    pub(crate) fn stops_host(&self) -> bool {
        matches!(self, Self::PowerLoss { .. } | Self::Kill { .. } | Self::Pause { .. } | Self::Drain { .. })
    }

    /// Whether only the wall clock is touched; such a fault bites who reads that clock.
    pub(crate) fn is_of_clock(&self) -> bool {
        matches!(self, Self::ClockSkew { .. } | Self::ClockDrift { .. } | Self::ClockJump { .. })
    }
}
