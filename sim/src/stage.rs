//! The state of the rehearsal that runs on this thread: who is on, what happened, what was found.
//!
//! Sockets, log lines, clients and the harness all report here, by [`with`]. It is a thread-local because it
//! must be reached from inside any code of any host; it is one struct because all of it ends together.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::call::{CallRecord, Reply};
use crate::entropy;
use crate::host::HostShared;
use crate::invariant::{EventualPromise, Invariant};
use crate::net::Wire;
use crate::plan::{Fault, FaultKind, Plan, Request};
use crate::rehearsal::Keep;
use crate::scenario::Scenario;
use crate::trace::event::{CallStep, DiskUse, Event, Fact, Line, What};
use crate::trace::fingerprint::Fingerprint;

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// What sorts of events are told apart by in the fingerprint.
const LOG: u64 = 0;
const TOLD: u64 = 1;
const ANNOUNCED: u64 = 2;
const FREQUENT: u64 = 3;
const CALL: u64 = 4;

/// What happens on this thread.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) hosts: Vec<HostState>,
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
    eventual: Vec<EventualPromise>,
    /// Asks the program which call it handles, as the scenario says how.
    pub(crate) request_id_of_line: Option<fn() -> Option<String>>,
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
    pub(crate) has_begun: bool,
    /// Whether it touched a call.
    pub(crate) is_effective: bool,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What was promised.
    pub promise: String,
    /// What was seen instead.
    pub detail: String,
    /// When, counted from the start of the simulation.
    pub at: Duration,
    /// Whether the program broke it, or the scenario cannot be rehearsed as it is.
    pub kind: ViolationKind,
}

/// What a violation says something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViolationKind {
    /// The program: it broke a promise under this plan.
    Promise,
    /// The scenario: it is wrong under every plan, so there is nothing to shrink and nothing to keep.
    SetUp,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {} ms)", self.promise, self.detail, self.at.as_millis())
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

/// Tells `fact` to the checks and to the trace, from inside a host. With the id of the request that it is about, if it is
/// about one.
pub fn tell(fact: impl Fact, request_id: Option<&str>) {
    with(|stage| stage.tell(Arc::new(fact), request_id));
}

impl Stage {
    #[expect(clippy::disallowed_methods, reason = "this is where virtual time starts")]
    pub(crate) fn new(scenario: &Scenario, plan: &Plan, warm_up: Duration, keep: Keep) -> Self {
        Self {
            hosts: Vec::new(),
            calls: Vec::new(),
            in_flight: Vec::new(),
            faults: Vec::new(),
            wires: Vec::new(),
            violation: None,
            events: (keep == Keep::Trace).then(Vec::new),
            fingerprint: (keep != Keep::Nothing).then(Fingerprint::default),
            checks: scenario.checks.iter().map(|new| new()).collect(),
            eventual: scenario.eventual.iter().map(|new| new()).collect(),
            request_id_of_line: scenario.request_id_of_line,
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
            self.effective(FaultKind::is_of_clock);
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
    pub(crate) fn violate(&mut self, promise: &str, detail: impl Into<String>) {
        self.note_violation(promise, detail.into(), ViolationKind::Promise);
    }

    /// Notes a mistake in the set-up; the first violation counts.
    pub(crate) fn violate_set_up(&mut self, promise: &str, detail: impl Into<String>) {
        self.note_violation(promise, detail.into(), ViolationKind::SetUp);
    }

    /// A host's program ended with an error: a mistake in the set-up, if nothing was asked of it and nothing was wrong.
    pub(crate) fn host_failed(&mut self, detail: &str) {
        if self.calls.is_empty() && !self.faults.iter().any(|state| state.has_begun) {
            let detail = format!("{detail}: expected its program to run until it is told to drain");
            return self.violate_set_up("every host starts", detail);
        }
        self.violate("hosts do not fail", detail);
    }

    fn note_violation(&mut self, promise: &str, detail: String, kind: ViolationKind) {
        if self.violation.is_none() {
            let (promise, at) = (promise.to_owned(), self.now());
            self.violation = Some(Violation { promise, detail, at, kind });
        }
    }

    /// A host's program logs a line.
    pub(crate) fn log(&mut self, line: Line, request_id: Option<String>) {
        let event = self.event(What::Log(line), request_id);
        let What::Log(line) = &event.what else { return };
        if let Some(fingerprint) = self.stamp(event.at, &event.what, &line.message) {
            // The names, the level and the target follow from the place in the code, and that from the words.
            line.fields.iter().for_each(|(_, value)| value.hash_into(fingerprint));
        }
        self.show(event);
    }

    /// A host's program tells a fact.
    pub(crate) fn tell(&mut self, fact: Arc<dyn Fact>, request_id: Option<&str>) {
        let event = self.event(What::Told(fact), request_id.map(str::to_owned));
        if let Some(fingerprint) = self.stamp(event.at, &event.what, "") {
            write!(fingerprint, "{}", event.what).expect("a fingerprint takes all that is written to it");
        }
        self.show(event);
    }

    /// A fault begins or ends, or the rehearsal enters a phase.
    pub(crate) fn announce(&mut self, what: What) {
        let event = self.event(what, None);
        let text = event.what.to_string();
        self.stamp(event.at, &event.what, &text);
        self.show(event);
    }

    /// Shows an event to every check, and keeps it if the trace is kept.
    fn show(&mut self, event: Event) {
        self.ask(|check| check.event(&event));
        for promise in &mut self.eventual {
            promise.check.event(&event);
        }
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// Hashes what is too frequent to become an [`Event`] in every run: `make` makes one only if it is kept. Its
    /// time is hashed by the tick: the order within it says more, and costs nothing.
    pub(crate) fn push_frequent(&mut self, text: &str, numbers: &[u64], make: impl FnOnce(&Self) -> What) {
        let tick = self.tick_start;
        if let Some(fingerprint) = self.stamp_as(tick, FREQUENT, text) {
            numbers.iter().for_each(|number| fingerprint.number(*number));
        }
        self.keep(None, make);
    }

    /// A host used its disk.
    pub(crate) fn push_disk(&mut self, disk: DiskUse) {
        let numbers = [disk.bytes as u64, disk.hash];
        let (how, name) = (disk.how, Arc::clone(&disk.disk));
        self.push_frequent(how, &numbers, |_| What::Disk(disk));
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.bytes(name.as_bytes());
        }
    }

    /// Hashes that a call began or ended, and keeps it if the trace is kept. Checks are shown the call itself.
    fn push_call(&mut self, at: Duration, id: &str, said: [&str; 3], make: impl FnOnce() -> CallStep) {
        if let Some(fingerprint) = self.stamp_as(at, CALL, id) {
            said.iter().for_each(|text| fingerprint.bytes(text.as_bytes()));
        }
        self.keep(Some(id), |_| What::Call(make()));
    }

    /// Keeps an event that is neither hashed nor checked here, if the trace is kept.
    pub(crate) fn keep(&mut self, id: Option<&str>, make: impl FnOnce(&Self) -> What) {
        if self.events.is_some() {
            let event = self.event(make(self), id.map(str::to_owned));
            self.events.get_or_insert_default().push(event);
        }
    }

    /// An event that happens here and now.
    fn event(&self, what: What, request_id: Option<String>) -> Event {
        let host =
            self.current.map_or_else(|| Arc::clone(&self.nowhere), |host| Arc::clone(&self.hosts[host].name));
        let request = request_id.as_deref().and_then(Request::number_of);
        Event { at: self.now(), host, request_id, request, what }
    }

    /// Whether anything is kept of what happens.
    pub(crate) fn is_traced(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// Hashes when and where something happens; the fingerprint, for what else there is to hash.
    fn stamp(&mut self, at: Duration, what: &What, text: &str) -> Option<&mut Fingerprint> {
        let sort = match what {
            What::Log(_) => LOG,
            What::Told(_) => TOLD,
            _ => ANNOUNCED,
        };
        self.stamp_as(at, sort, text)
    }

    fn stamp_as(&mut self, at: Duration, sort: u64, text: &str) -> Option<&mut Fingerprint> {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let host = self.current.map_or(u64::MAX, |host| host as u64);
        let fingerprint = self.fingerprint.as_mut()?;
        fingerprint.number(nanos);
        fingerprint.number((host << 8) | sort);
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
        self.push_call(started, &request_id, ["begins", &request.argument, ""], || CallStep::Begins {
            client: request.client.clone(),
            kind: request.kind.clone(),
            argument: request.argument.clone(),
            deadline: request.deadline,
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
        self.push_call(at, &id, ["ends", &reply.status, &reply.value], || CallStep::Ends {
            status: reply.status.clone(),
            value: reply.value.clone(),
        });
        self.in_flight.retain(|other| *other != number);
        let mut calls = std::mem::take(&mut self.calls);
        let call = &mut calls[number];
        call.ended = Some(at);
        call.reply = Some(reply);
        self.ask(|check| check.call_ended(call));
        for promise in &mut self.eventual {
            promise.check.call_ended(call);
        }
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

    /// The eventual promises that do not hold yet: what is promised, within how long, and what is missing.
    pub(crate) fn missing(&self) -> Vec<(String, Duration, String)> {
        let missing = |promise: &EventualPromise| {
            let detail = promise.check.holds().err()?;
            Some((promise.promise.clone(), promise.within, detail))
        };
        self.eventual.iter().filter_map(missing).collect()
    }

    /// How often each promise had something to judge.
    pub(crate) fn met(&self) -> Vec<(String, u64)> {
        let checks = self.checks.iter().map(|check| (check.name().to_owned(), check.met()));
        let eventual = self.eventual.iter().map(|promise| (promise.promise.clone(), promise.check.met()));
        checks.chain(eventual).collect()
    }

    /// Traffic passed between two hosts: link faults between them, and host faults at either end, are
    /// effective if a call is in flight.
    pub(crate) fn touch(&mut self, one: usize, other: usize) {
        if self.in_flight.is_empty() {
            return;
        }
        for state in self.faults.iter_mut().filter(|state| state.active && !state.is_effective) {
            state.is_effective = match state.b {
                Some(b) => (state.a, b) == (one, other) || (state.a, b) == (other, one),
                None => state.fault.what.stops_host() && (state.a == one || state.a == other),
            };
        }
    }

    /// The program asked for, and met, a fault of this sort on the host that runs.
    pub(crate) fn effective(&mut self, is_this: impl Fn(&FaultKind) -> bool) {
        let current = self.current;
        let here = self.faults.iter_mut().filter(|state| state.active && Some(state.a) == current);
        for state in here.filter(|state| is_this(&state.fault.what)) {
            state.is_effective = true;
        }
    }
}
