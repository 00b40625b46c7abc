//! What lies on a hop, and what that can make of a call: faults while they are in force and in their aftermath, what
//! handlers met, services that were full, connections that could not be made.

mod words;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallFault, CallRecord, Event, Family, Wants};
use transport::Code;

use super::admission::Rooms;
use super::attempts::{Attempt, Attempts};
use super::breakers::Breakers;
use super::connections::Connections;
use super::failure::Failure;
use super::faults::{Fault, Faults};
use super::hops::Hop;
use super::outgoing::Outgoing;
use super::panics::Panics;
use super::requests::ByRequest;
use super::shed::is_sheddable;
use super::table::{Side, allows};
use super::unheard::Unheard;
use crate::facts::{CallOutcome, HandlerDisturbed};
use crate::setting::Setting;

/// How long a call that goes by a key waits for the home of that, at most.
const HOME_WAIT: Duration = Duration::from_millis(250);

/// One hop: a call of a client to the host where it enters, or of a service to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg<'a> {
    pub(super) request: u32,
    /// The caller's host.
    pub(super) caller: &'a str,
    /// Which of all clients of nodes makes it; `None` for those outside.
    pub(super) client: Option<u32>,
    /// Whether that client has any number of connections, so that one that works proves nothing of the others.
    pub(super) is_pooled: bool,
    /// Whether a service makes it with a stream, or is to get one: of a request that is a stream, there is one attempt.
    pub(super) is_stream: bool,
    pub(super) callee: &'a str,
    /// The one host of the callee that is meant; `None` for all it is on.
    pub(super) target: Option<&'a str>,
    pub(super) path: &'a str,
    /// From when to when it lasted.
    pub(super) span: (Duration, Duration),
}

impl<'a> Leg<'a> {
    /// A call between services, which may last until now.
    pub(super) fn of(request: u32, hop: &'a Hop, now: Duration) -> Self {
        let (made, span) = (&hop.made, hop.span(now));
        let (client, callee, path) = (Some(made.client), made.callee, made.path);
        let (is_pooled, is_stream, target) = (false, made.is_streaming, None);
        Self { request, caller: &hop.host, client, is_pooled, is_stream, callee, target, path, span }
    }
}

/// All causes of failures so far.
#[derive(Debug)]
pub(super) struct Causes {
    setting: Arc<Setting>,
    faults: Faults,
    rooms: Rooms,
    connections: Connections,
    attempts: Attempts,
    breakers: Breakers,
    outgoing: Outgoing,
    unheard: Unheard,
    /// The faults of the plan that handlers met, by request.
    disturbed: ByRequest<Vec<HandlerDisturbed>>,
    /// The requests whose calls can be done without.
    sheddable: BTreeSet<u32>,
    panics: Panics,
}

impl Causes {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self {
            setting: Arc::clone(setting),
            faults: Faults::default(),
            rooms: Rooms::new(setting),
            connections: Connections::default(),
            attempts: Attempts::default(),
            breakers: Breakers::default(),
            outgoing: Outgoing::default(),
            unheard: Unheard::default(),
            disturbed: ByRequest::default(),
            sheddable: BTreeSet::new(),
            panics: Panics::default(),
        }
    }

    /// What it must be told of.
    pub(super) fn wants() -> Wants {
        let told = Rooms::wants(Attempts::wants(Faults::wants()));
        Panics::wants(told).fact::<CallOutcome>()
    }

    /// A client makes a call.
    pub(super) fn note_call(&mut self, call: &CallRecord) {
        if is_sheddable(&call.request) {
            self.sheddable.insert(call.request.id);
        }
    }

    /// Takes note of `event`.
    ///
    /// # Errors
    /// When a node could not connect, or was not told whether its callee serves, and nothing is in its way.
    pub(super) fn note(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if event.host.is_empty() {
            return Ok(());
        }
        self.rooms.note(event);
        self.attempts.note(event);
        self.breakers.note(event)?;
        self.outgoing.note(event, &self.setting.max_in_flight);
        if let Some(disturbed) = event.told::<HandlerDisturbed>() {
            let of_request = event.request.map(|request| self.disturbed.get_or_default(request));
            of_request.into_iter().for_each(|all| all.push(*disturbed));
        }
        self.panics.note(event);
        match self.connections.note(event, self.setting.greeting)? {
            Some((callee, why)) if !self.is_cut_off(&event.host, callee, event.at) => Err(format!(
                "{} {why} {callee} at {} ms, and nothing is in its way",
                event.host,
                event.at.as_millis()
            )),
            _ => Ok(()),
        }
    }

    /// A call of a client of a node has ended, and nobody had begun to handle it.
    pub(super) fn unheard(&mut self, leg: Leg<'_>, left: Option<Duration>) {
        if left.is_none_or(|left| left > self.setting.ping_after + self.setting.hop()) {
            self.unheard.note(leg.client, leg.callee, leg.span.0);
        }
    }

    /// A call worked that was handled on `host`.
    pub(super) fn worked(&mut self, leg: Leg<'_>, host: &Arc<str>) {
        if !leg.is_pooled {
            self.connections.worked(leg.client, Arc::clone(host), leg.span);
        }
    }

    /// Whether something on this hop takes time.
    pub(super) fn delay(&self, leg: Leg<'_>) -> bool {
        self.met(leg, |by| matches!(by, CallFault::Slow(_))) || self.explain(leg, Failure::Late)
    }

    /// Whether the handler of this hop met such a fault of the plan.
    pub(super) fn met(&self, leg: Leg<'_>, is_such: impl Fn(CallFault) -> bool) -> bool {
        let mut disturbed = self.disturbed.get(leg.request).into_iter().flatten();
        disturbed.any(|disturbed| disturbed.path == leg.path && is_such(disturbed.by))
    }

    /// Whether the callee had as many calls as it takes on at some time since the call was made: as many as it has for
    /// calls like this.
    pub(super) fn was_full(&self, leg: Leg<'_>) -> bool {
        let hosts: Vec<_> = self.setting.graph.targets(leg.caller, leg.callee).collect();
        let is_sheddable = self.sheddable.contains(&leg.request);
        self.rooms.was_full(leg.callee, leg.path, &hosts, (leg.span.0, is_sheddable))
    }

    /// Whether an actor that could have handled the call died meanwhile over another one.
    pub(super) fn has_actor_died(&self, leg: Leg<'_>) -> bool {
        let tick = self.setting.tick;
        let span = (leg.span.0.saturating_sub(tick), leg.span.1 + tick);
        let is_there =
            |host: &str| self.setting.graph.targets(leg.caller, leg.callee).any(|target| target == host);
        self.panics.have_killed(leg.callee, is_there, leg.request, span)
    }

    /// Whether the callee held back calls of its own meanwhile, since calls like them had failed.
    pub(super) fn holds_back(&self, leg: Leg<'_>) -> bool {
        let graph = &self.setting.graph;
        let mut hosts = graph.targets(leg.caller, leg.callee).filter(|host| self.is_entered(leg, host));
        hosts.any(|host| {
            let mut callees = graph.callees(leg.callee).iter();
            callees.any(|callee| self.breakers.were_open(host, callee, leg.span, self.setting.tick))
        })
    }

    /// Whether the callee had as many calls of its own out meanwhile as its policy lets it have.
    pub(super) fn lets_no_more_out(&self, leg: Leg<'_>) -> bool {
        let graph = &self.setting.graph;
        let mut hosts = graph.targets(leg.caller, leg.callee).filter(|host| self.is_entered(leg, host));
        let since = leg.span.0.saturating_sub(self.setting.tick);
        hosts.any(|host| {
            let mut callees = graph.callees(leg.callee).iter();
            callees.any(|callee| self.outgoing.was_full(host, callee, since))
        })
    }

    /// Whether nobody could have been sent the call: none of the hosts that the callee is on, or, of a stream, the one that it
    /// went to. A host next door could not if the actor there died; another one while the caller leaves it alone, or by a fault.
    pub(super) fn keep_from_sending(&self, leg: Leg<'_>) -> bool {
        let targets: Vec<_> = self.setting.graph.targets(leg.caller, leg.callee).collect();
        let mut entered = targets.iter().filter(|host| self.is_entered(leg, host));
        let is_kept = |host: &&str| {
            let is_left_alone =
                || self.connections.retreated(leg.caller, leg.callee, host, leg.span, self.setting.tick);
            *host == leg.caller && self.has_actor_died(leg)
                || is_left_alone()
                || self.explain(Leg { target: Some(host), ..leg }, Failure::NotSent)
        };
        if leg.is_stream { entered.any(is_kept) } else { entered.all(is_kept) }
    }

    /// Whether the call may come to this host.
    fn is_entered(&self, leg: Leg<'_>, host: &str) -> bool {
        let is_entry = leg.caller == CLIENTS;
        let entered = is_entry.then(|| self.setting.graph.entry(leg.callee, leg.request)).flatten();
        entered.is_none_or(|entered| entered == host) && leg.target.is_none_or(|only| only == host)
    }

    /// Whether a fault of one of these families, each with its code, lies on this hop.
    pub(super) fn allow(&self, leg: Leg<'_>, code: Code, allowed: &[(Family, Code)]) -> bool {
        let is_allowed = |fault: &Fault| allowed.contains(&(fault.family, code));
        let mut here = self.on(leg).filter(|(fault, _)| is_allowed(fault));
        here.any(|(fault, _)| fault.is_felt(leg.span, self.after(fault)))
    }

    /// Whether a fault on this hop can make this of the call.
    pub(super) fn explain(&self, leg: Leg<'_>, failure: Failure) -> bool {
        let mut culprits = self.on(leg).filter(|(fault, side)| allows(fault, *side, failure));
        culprits.any(|(fault, side)| {
            fault.is_felt(leg.span, self.after(fault)) && !self.was_found(fault, side, failure, leg)
                || self.is_heard_late(fault, leg, |other, side| self.was_found(other, side, failure, leg))
                || self.is_half_open(fault, side, leg) && self.breaks(fault, failure, leg.span)
        }) || failure == Failure::Broken && self.has_cut_off(leg, Side::Entry)
            || failure == Failure::Lost && self.has_cut_off(leg, Side::Callee)
    }

    /// Whether a host on this side of the hop, that of a client's call or another, had no more time to drain, and left with the
    /// call on it.
    fn has_cut_off(&self, leg: Leg<'_>, side: Side) -> bool {
        let mut here = self.on(leg).filter(|(_, known)| *known == side);
        here.any(|(fault, _)| fault.is_out_of_time(self.setting.leaves_within(), leg.span.1))
    }

    /// The faults that lie on this hop, and where.
    fn on<'a>(&'a self, leg: Leg<'a>) -> impl Iterator<Item = (&'a Fault, Side)> {
        self.faults.iter().filter_map(move |fault| Some((fault, self.side(leg, fault)?)))
    }

    fn side(&self, leg: Leg<'_>, fault: &Fault) -> Option<Side> {
        let mut targets = self.setting.graph.targets(leg.caller, leg.callee);
        // A name is silent for all the hosts to which it leads.
        let is_silent = fault.family == Family::SilentName;
        let is_there = |host: &str| {
            (is_silent || self.is_entered(leg, host))
                && (fault.is_on(host) || fault.is_between(leg.caller, host))
        };
        match targets.any(is_there) {
            true if leg.caller == CLIENTS => Some(Side::Entry),
            true => Some(Side::Callee),
            false => fault.is_on(leg.caller).then_some(Side::Caller),
        }
    }

    /// Whether word of a fault, such as the FIN of a process that was killed, was itself held up by another, which nobody
    /// had found yet.
    fn is_heard_late(&self, fault: &Fault, leg: Leg<'_>, was_found: impl Fn(&Fault, Side) -> bool) -> bool {
        let lasted = (fault.from, fault.until.unwrap_or(Duration::MAX));
        let mut others = self.on(leg).filter(|(other, _)| other.delays() && !std::ptr::eq(*other, fault));
        others.any(|(other, side)| {
            other.is_felt(lasted, other.backlog())
                && other.is_felt(leg.span, self.after(other))
                && !was_found(other, side)
        })
    }

    /// A machine that lost its power told nobody: who was connected learns it with the next call, whenever that
    /// is. One call that works proves a new connection, where there is one at a time.
    fn is_half_open(&self, fault: &Fault, side: Side, leg: Leg<'_>) -> bool {
        let Some(until) = fault.until.filter(|_| fault.family == Family::PowerLoss) else { return false };
        let has_worked = || self.connections.has_worked(leg.client, &fault.host, (until, leg.span.0));
        let mut known = self.attempts.between(leg.caller, &fault.host);
        let is_old = |attempt: &Attempt| {
            attempt.begun <= until
                && attempt.ended.is_none_or(|ended| ended + self.setting.tick >= leg.span.0)
        };
        side != Side::Caller
            && (leg.is_pooled || !has_worked())
            && (leg.client.is_none() || known.any(is_old))
    }

    /// Whether the caller had found by then that a fault keeps the callee from answering, so that it is no cause any more.
    fn was_found(&self, fault: &Fault, side: Side, failure: Failure, leg: Leg<'_>) -> bool {
        let (Some(client), Side::Callee) = (leg.client, side) else { return false };
        let mut pauses = self.faults.on_host(leg.caller).filter(|fault| fault.family == Family::Pause);
        let found_dead = self.setting.found_dead() + self.setting.hop() * 2;
        if pauses.any(|pause| pause.is_felt(leg.span, found_dead)) {
            return false;
        }
        // A connection that carries the call is given up; one that is in the making may take its time.
        let is_carried = || {
            let mut targets = self.setting.graph.targets(leg.caller, leg.callee);
            let making = |target| {
                self.attempts.between(leg.caller, target).any(|attempt| attempt.was_in_the_making(leg.span))
            };
            !targets.any(making)
        };
        let since = self.unheard.first(client, leg.callee, fault.from);
        let known = since.filter(|since| fault.was_found((*since, leg.span.0), found_dead));
        failure == Failure::Late && fault.was_found(leg.span, found_dead) && is_carried()
            || known.is_some_and(|since| {
                self.has_time_for_another(failure, leg) && self.has_spare(fault, leg, since)
            })
    }

    /// Whether the call may go to any host of its callee, or, where it goes by a key, has more time than it waits for the home of
    /// that, and for each further one that may be cut off: then it goes on to the next one.
    fn has_time_for_another(&self, failure: Failure, leg: Leg<'_>) -> bool {
        if !self.setting.by_key.contains(&leg.callee) {
            return true;
        }
        let may_be_cut_off =
            |host: &&str| self.faults.iter().any(|fault| fault.is_at(host) && fault.cuts_off());
        let homes = self.setting.graph.targets(leg.caller, leg.callee).filter(may_be_cut_off);
        let waits: Duration = homes.map(|_| HOME_WAIT).sum();
        failure == Failure::Late && leg.span.1 - leg.span.0 > waits + self.setting.hop() * 4
    }

    /// Whether the callee is on another host, too, of which nothing has kept the caller since then, and which takes the call.
    fn has_spare(&self, fault: &Fault, leg: Leg<'_>, since: Duration) -> bool {
        let is_sound = |host: &str| {
            let on_way = |other: &&Fault| other.is_on(host) || other.is_between(leg.caller, host);
            self.faults.iter().filter(on_way).filter(|other| other.cuts_off()).all(|other| {
                other.until.is_some_and(|until| {
                    let healed = until.saturating_add(other.backlog());
                    healed <= since && self.connections.has_worked(leg.client, host, (healed, leg.span.0))
                })
            })
        };
        let mut targets = self.setting.graph.targets(leg.caller, leg.callee);
        targets.any(|host| !fault.is_at(host) && is_sound(host))
    }

    /// What comes of a half-open connection: it breaks as soon as it is used. But in the simulation, a machine
    /// whose process has ended since says nothing on connections that it does not know.
    fn breaks(&self, fault: &Fault, failure: Failure, span: (Duration, Duration)) -> bool {
        let mut since = self.faults.on_host(&fault.host);
        let has_ended = |other: &Fault| {
            matches!(other.family, Family::Kill | Family::Drain) && other.is_felt(span, Duration::ZERO)
        };
        matches!(failure, Failure::Broken | Failure::Lost | Failure::NotSent)
            || failure == Failure::Late && since.any(has_ended)
    }

    /// How long calls feel a fault that has ended: until what it held up has arrived, and the word of it has gone one
    /// hop there and back. A connection that was in the making at a power loss is given up when it was not greeted in time, and
    /// a question that was lost when it was not answered in time.
    fn after(&self, fault: &Fault) -> Duration {
        let silence = match fault.family {
            Family::PowerLoss => self.setting.greeting,
            Family::SilentName => self.setting.answer_wait(),
            _ => Duration::ZERO,
        };
        fault.backlog().saturating_add(silence + self.setting.hop() * 2)
    }

    /// Whether something lies in the way of a node that could not connect.
    fn is_cut_off(&self, caller: &str, callee: &str, now: Duration) -> bool {
        let span = (now, now);
        let (request, client, is_pooled, is_stream, target, path) = (0, None, false, false, None, "");
        let leg = Leg { request, caller, client, is_pooled, is_stream, callee, target, path, span };
        let graph = &self.setting.graph;
        let mut on_way = self.on(leg).filter(|(fault, _)| fault.cuts_off());
        // What is no node may take no connections with nothing wrong.
        graph.targets(caller, callee).any(|host| graph.is_foreign(host))
            || on_way.any(|(fault, _)| {
                fault.is_felt(span, self.after(fault)) || self.is_heard_late(fault, leg, |_, _| false)
            })
    }
}
