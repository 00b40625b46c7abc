//! Records the rehearsal that runs on this thread: what happens, on which host, under which faults, and whether it
//! breaks a promise.
//!
//! Sockets, disks, log lines, clients and the world all report here, by [`with`]. It is a thread-local because it must
//! be reached from inside any code of any host. Its parts are kept by what they are about: [`Hosts`], the faults
//! [`InForce`], [`Calls`], the [`Checks`], what is [`Kept`] of the trace, the [`Clock`] and the [`Turns`].

mod audience;
mod calls;
mod checks;
mod clock;
mod hosts;
mod in_force;
mod kept;
mod turns;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{CallRecord, Reply};
use crate::plan::{Family, Fault, FaultKind, Plan, Request};
use crate::trace::event::{CallStep, Event, Fact, Line, What};

pub(crate) use calls::Calls;
pub(crate) use checks::{Checks, Missing};
pub(crate) use clock::Clock;
pub(crate) use hosts::{HostState, Hosts, Status};
pub(crate) use in_force::{FaultState, InForce};
pub use kept::Keep;
pub(crate) use kept::{Kept, Sort};
pub(crate) use turns::Turns;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// All that is known of the rehearsal on this thread.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) hosts: Hosts,
    pub(crate) in_force: InForce,
    pub(crate) calls: Calls,
    pub(crate) checks: Checks,
    pub(crate) kept: Kept,
    pub(crate) clock: Clock,
    pub(crate) turns: Turns,
    /// The numbers of those requests that go under other ids than their own.
    sent_ids: BTreeMap<String, u32>,
    /// What the program is asked as it logs a line.
    pub(crate) lines: OfLines,
}

/// What a program is asked as it logs a line, as the scenario says how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfLines {
    /// Which call it handles.
    pub(crate) request_id: Option<fn() -> Option<String>>,
    /// What the line is in its log, on the host of a name.
    pub(crate) written: Option<Written>,
}

/// The line of an event as the program of a host writes it, if it does.
pub type Written = fn(&str, &tracing::Event<'_>) -> Option<String>;

/// Puts `recorder` on this thread.
pub(crate) fn install(recorder: Recorder) {
    RECORDER.set(Some(recorder));
}

/// Takes the recorder off this thread.
pub(crate) fn take() -> Option<Recorder> {
    RECORDER.take()
}

/// Runs `work` on this thread's recorder.
///
/// # Panics
/// Where no rehearsal runs: what hosts are given by this crate works inside of one only. Also from inside `work`
/// itself, which therefore must not run code of hosts: no waker, no log line.
pub(crate) fn with<T>(work: impl FnOnce(&mut Recorder) -> T) -> T {
    RECORDER.with_borrow_mut(|recorder| {
        work(recorder.as_mut().expect("a host's program runs in a rehearsal, and none runs on this thread"))
    })
}

/// The name of the host that runs on this thread. Nothing where that cannot be known at the moment, as where a check panics.
pub(crate) fn current_host() -> Option<Arc<str>> {
    RECORDER.with(|recorder| {
        let recorder = recorder.try_borrow().ok()?;
        let hosts = &recorder.as_ref()?.hosts;
        hosts.current().map(|_| hosts.current_name())
    })
}

/// Tells `fact` to the checks and to the trace, from inside a host. With the id of the request that it is about, if it
/// is about one.
///
/// # Panics
/// Where no rehearsal runs.
pub fn tell(fact: impl Fact, request_id: Option<&str>) {
    with(|recorder| recorder.tell(Arc::new(fact), request_id));
}

fn sent_ids(plan: &Plan) -> BTreeMap<String, u32> {
    let other = |request: &Request| Some((request.sends_id.clone()?, request.id));
    plan.requests.iter().filter_map(other).filter(|(id, _)| !id.is_empty()).collect()
}

impl Recorder {
    /// A recorder of `plan`, which is about to be played.
    pub(crate) fn new(plan: &Plan, clock: Clock, checks: Checks, lines: OfLines, keep: Keep) -> Self {
        Self {
            hosts: Hosts::default(),
            in_force: InForce::default(),
            calls: Calls::default(),
            checks,
            kept: Kept::new(keep),
            clock,
            turns: Turns::new(plan.seed, plan.network.yield_percent),
            sent_ids: sent_ids(plan),
            lines,
        }
    }

    /// Takes the faults of the plan, whose hosts are all there.
    pub(crate) fn set_faults(&mut self, faults: &[Fault]) {
        let host = |name: &str| self.hosts.named(name).expect("the plan was checked against its scenario");
        let state = |fault: &Fault| {
            let (a, b) = fault.what.hosts();
            FaultState::new(fault.clone(), host(a), b.map(host))
        };
        let faults = faults.iter().map(state).collect();
        self.in_force.set(faults);
    }

    /// The time of the plan.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now(self.hosts.current().is_some())
    }

    /// The host that runs from now on; `None` for the simulator.
    pub(crate) fn enter(&mut self, host: Option<usize>) {
        if self.clock.wall_was_read() {
            self.meet(|fault| fault.family().is_of_clock());
        }
        self.hosts.enter(host);
        let offset = host.map_or(0, |host| self.in_force.wall_offset_nanos(host, self.clock.tick_start()));
        self.clock.set_wall_offset(offset);
    }

    /// Does `work` as if it were `at`, and `host` ran: processes of their own tell later of what they did.
    pub(crate) fn told_of(&mut self, host: usize, at: Duration, work: impl FnOnce(&mut Self)) {
        self.clock.show(Some(at));
        self.hosts.enter(Some(host));
        work(self);
        self.hosts.enter(None);
        self.clock.show(None);
    }

    /// The program asked for, and met, a fault of this sort on the host that runs: it is effective.
    pub(crate) fn meet(&mut self, is_this: impl Fn(&FaultKind) -> bool) {
        if let Some(host) = self.hosts.current() {
            self.in_force.met_on(host, is_this);
        }
    }

    /// The address of a host, unless the plan has names leave it out at the moment.
    pub(crate) fn listed(&mut self, host: &str) -> Option<IpAddr> {
        let at = self.hosts.named(host)?;
        (!self.is_met_on(at, Family::Unlisted)).then(|| self.hosts.get(at).address)
    }

    /// Whether the plan has nobody answer at the moment where names lead, if that is to this host among others.
    pub(crate) fn is_silent(&mut self, host: &str) -> bool {
        self.hosts.named(host).is_some_and(|at| self.is_met_on(at, Family::SilentName))
    }

    /// Whether a fault of `family` is in force on a host; it is effective then.
    fn is_met_on(&mut self, host: usize, family: Family) -> bool {
        self.in_force.met_on(host, |kind| kind.family() == family);
        self.in_force.active_on(host).any(|state| state.fault.what.family() == family)
    }

    /// Whether a name that leads nowhere is said not to be there at all, and not that it leads nowhere: now one, now the
    /// other, as servers of names do.
    pub(crate) fn is_denied(&self) -> bool {
        (self.now().as_millis() / 10).is_multiple_of(2)
    }

    /// Traffic passed between two hosts. The faults on its way are effective if a call is in flight.
    pub(crate) fn touch(&mut self, one: usize, other: usize) {
        if !self.calls.is_quiet() {
            self.in_force.met_between(one, other);
        }
    }

    /// Notes a broken promise; the first one counts.
    pub(crate) fn violate(&mut self, promise: &str, detail: impl Into<String>) {
        let now = self.now();
        self.checks.violate(promise, detail.into(), now);
    }

    /// A host's program ended with an error, or panicked. That is a mistake in the set-up if nothing was wrong and
    /// nothing was asked of it.
    pub(crate) fn host_failed(&mut self, promise: &str, detail: &str) {
        if self.calls.all().is_empty() && !self.in_force.has_begun() {
            let detail = format!("{detail}: expected its program to run until it is told to drain");
            return self.checks.reject_set_up(detail, self.now());
        }
        self.violate(promise, detail);
    }

    /// A host's program panicked while it was rehearsed. What was found broken in the same tick may well come of that.
    pub(crate) fn host_panicked(&mut self, panic: &str) {
        if !self.checks.add_to_violation(&format!("; a host panicked: {panic}")) {
            self.violate("hosts do not panic", panic);
        }
    }

    /// A host's program logs a line.
    pub(crate) fn log(&mut self, line: Line, request_id: Option<String>) {
        let event = self.event(What::Log(line), request_id);
        if let (Some(fingerprint), Some(line)) = (self.kept.stamp(&event, Sort::Log), event.line()) {
            fingerprint.bytes(line.message.as_bytes());
            // The names, the level and the target follow from the line of code, and that from the words.
            line.fields.iter().for_each(|(_, value)| value.hash_into(fingerprint));
        }
        self.show(event);
    }

    /// A host's program tells a fact.
    pub(crate) fn tell(&mut self, fact: Arc<dyn Fact>, request_id: Option<&str>) {
        let event = self.event(What::Told(fact), request_id.map(str::to_owned));
        self.show_printed(event, Sort::Told);
    }

    /// A fault begins or ends, or the rehearsal enters a phase.
    pub(crate) fn announce(&mut self, what: What) {
        let event = self.event(what, None);
        self.show_printed(event, Sort::Announced);
    }

    fn show_printed(&mut self, event: Event, sort: Sort) {
        if let Some(fingerprint) = self.kept.stamp(&event, sort) {
            fingerprint.print(&event.what);
        }
        self.show(event);
    }

    fn show(&mut self, event: Event) {
        self.checks.show(&event, event.at);
        self.kept.push(event);
        self.note_if_broken();
    }

    fn note_if_broken(&mut self) {
        if self.checks.violation().is_some() {
            self.kept.note_broken();
        }
    }

    /// Hashes what is too frequent to become an [`Event`] in every run: `make` makes one only if it is kept. Its time
    /// is hashed by the tick: the order within it says more, and costs nothing.
    pub(crate) fn push_frequent(&mut self, text: &str, numbers: &[u64], make: impl FnOnce(&Self) -> What) {
        let (tick, host) = (self.clock.tick_start(), self.hosts.current());
        if let Some(fingerprint) = self.kept.stamp_at(tick, host, Sort::Frequent) {
            fingerprint.bytes(text.as_bytes());
            numbers.iter().for_each(|number| fingerprint.number(*number));
        }
        self.keep(None, make);
    }

    /// Keeps an event that is neither hashed nor checked here, if the trace is kept.
    pub(crate) fn keep(&mut self, request_id: Option<&str>, make: impl FnOnce(&Self) -> What) {
        if self.kept.has_events() {
            self.note_if_broken();
            let event = self.event(make(self), request_id.map(str::to_owned));
            self.kept.push(event);
        }
    }

    /// The number of the request that goes under this id.
    fn request_under(&self, id: &str) -> Option<u32> {
        self.sent_ids.get(id).copied().or_else(|| Request::number_of(id))
    }

    /// An event that happens here and now.
    fn event(&self, what: What, request_id: Option<String>) -> Event {
        let request = request_id.as_deref().and_then(|id| self.request_under(id));
        Event { at: self.now(), host: self.hosts.current_name(), request_id, request, what }
    }

    /// A client makes a call; returns the number under which it ends.
    pub(crate) fn start_call(&mut self, request: &Request, is_probe: bool) -> usize {
        let faults = self.in_force.names();
        let call = CallRecord::started(request.clone(), self.now(), is_probe, faults);
        self.push_call(&call.request_id, call.started, [&request.argument, ""], || CallStep::Begins {
            client: request.client.clone(),
            kind: request.kind.clone(),
            argument: request.argument.clone(),
            deadline: request.deadline,
        });
        self.checks.call_started(&call, call.started);
        self.calls.start(call)
    }

    /// A client has its reply.
    pub(crate) fn end_call(&mut self, number: usize, reply: Reply) {
        let at = self.now();
        let id = self.calls.all()[number].request_id.clone();
        self.push_call(&id, at, [&reply.status, &reply.value], || {
            let (status, value) = (reply.status.clone(), reply.value.clone());
            CallStep::Ends { status, value }
        });
        let call = self.calls.end(number, at, reply);
        self.checks.call_ended(call, at);
    }

    /// Hashes that a call began or ended, and keeps it if the trace is kept. Checks are shown the call itself. What
    /// is called, and how, follows from the plan.
    fn push_call(&mut self, id: &str, at: Duration, said: [&str; 2], make: impl FnOnce() -> CallStep) {
        if let Some(fingerprint) = self.kept.stamp_at(at, self.hosts.current(), Sort::Call) {
            fingerprint.bytes(id.as_bytes());
            said.iter().for_each(|text| fingerprint.bytes(text.as_bytes()));
        }
        self.keep(Some(id), |_| What::Call(make()));
    }

    /// Shows the checks the end of a tick: what has not happened by now is visible here.
    pub(crate) fn end_tick(&mut self) {
        for call in self.calls.in_flight() {
            self.checks.call_waiting(call, self.clock.tick_start());
        }
    }

    /// Switches a fault of the plan on or off, and tells the checks; what it is and where.
    pub(crate) fn switch(&mut self, number: usize, is_active: bool) -> (FaultKind, usize, Option<usize>) {
        let state = self.in_force.switch(number, is_active);
        let (fault, a, b) = (state.fault.clone(), state.a, state.b);
        if is_active {
            self.calls.note_fault(fault.what.name());
        }
        let what = fault.what.clone();
        self.announce(match is_active {
            true => What::FaultBegins { number, fault },
            false => What::FaultEnds { number, fault },
        });
        (what, a, b)
    }
}
