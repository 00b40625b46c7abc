//! A call that fails, fails for a reason: each hop of its way is judged by what lay on that hop.
//!
//! A hop is one call: of a client to the host where its call enters, or of a service to another. What it comes to is
//! explained by a fault on the link between caller and callee or at one of them, while that is in force and in its
//! aftermath; by a fault of the plan that its handler met; by a service that had as many calls as it takes on; or by a
//! hop further inside that failed, which is judged by itself. Only then may a call fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallFault, CallRecord, Event, Family, Invariant};
use transport::Code;

use super::admission::Rooms;
use super::connections::Connections;
use super::failure::{Failure, in_words, is_of_users};
use super::faults::{Fault, Faults};
use super::hops::{Hop, Hops};
use super::table::{Place, allows};
use crate::facts::{HandlerDisturbed, Outcome};
use crate::load::{Kind, Via};
use crate::setting::Setting;

/// Judges each call that did not work.
#[derive(Debug)]
pub(super) struct StatusesAreExplained {
    setting: Arc<Setting>,
    allowed: Vec<(Family, Code)>,
    enough: Duration,
    faults: Faults,
    rooms: Rooms,
    hops: Hops,
    connections: Connections,
    /// The faults of the plan that handlers met, by request.
    disturbed: BTreeMap<u32, Vec<HandlerDisturbed>>,
    /// The handlers that were made to panic: a panic may take the calls along that wait for the same actor.
    panics: Vec<(Duration, Arc<str>, &'static str)>,
    /// The sort of each call that a client made, by its place in the setting.
    entries: BTreeMap<u32, usize>,
    met: u64,
}

/// What one call was, for those who judge it.
#[derive(Debug, Clone, Copy)]
struct Leg<'a> {
    request: u32,
    caller: &'a str,
    /// Which of all clients: each has connections of its own.
    client: Option<u32>,
    callee: &'a str,
    path: &'a str,
    span: (Duration, Duration),
}

impl StatusesAreExplained {
    pub(super) fn new(setting: &Arc<Setting>, allowed: Vec<(Family, Code)>, enough: Duration) -> Self {
        Self {
            setting: Arc::clone(setting),
            allowed,
            enough,
            faults: Faults::default(),
            rooms: Rooms::new(setting),
            hops: Hops::default(),
            connections: Connections::default(),
            disturbed: BTreeMap::new(),
            panics: Vec::new(),
            entries: BTreeMap::new(),
            met: 0,
        }
    }

    fn entry(&self, request: u32) -> Option<&Kind> {
        self.setting.kinds.get(*self.entries.get(&request)?)
    }

    /// What a healthy call of this request may take: a caller with less is promised nothing.
    fn enough(&self, request: u32) -> Duration {
        let more = self.hops.of(request).len().saturating_sub(1);
        self.enough + self.enough / 2 * u32::try_from(more).unwrap_or(u32::MAX)
    }

    /// Whether a call between services may come to this.
    fn is_hop_explained(&self, request: u32, hop: &Hop, failure: Failure, now: Duration) -> bool {
        let is_short = || hop.made.left.is_some_and(|left| left < self.enough(request));
        let is_expected = |code| self.entry(request).is_some_and(|kind| kind.expect.allows(code));
        match failure {
            Failure::Late if is_short() => return true,
            Failure::Said(code) if is_of_users(code) || is_expected(code) => return true,
            _ => {}
        }
        self.is_explained(leg_of(request, hop, now), failure)
    }

    fn is_explained(&self, leg: Leg<'_>, failure: Failure) -> bool {
        match failure {
            Failure::Late => {
                let hops = self.hops.of(leg.request);
                let is_inside = |hop: &Hop| hop.made.caller == Some(leg.callee);
                self.is_delayed(leg)
                    || hops.iter().any(|hop| self.is_delayed(leg_of(leg.request, hop, leg.span.1)))
                    || hops.iter().any(|hop| is_inside(hop) && has_failed(hop))
            }
            Failure::Said(code) => self.is_code_explained(leg, code),
            Failure::NotSent => self.is_unsent_explained(leg) || self.is_by_fault(leg, failure),
            _ => self.is_by_fault(leg, failure),
        }
    }

    /// Whether nobody could have been sent the call: its caller leaves the callee alone, or the actor next door died.
    fn is_unsent_explained(&self, leg: Leg<'_>) -> bool {
        let is_local = self.setting.graph.is_on(leg.callee, leg.caller);
        is_local && self.has_actor_died(leg)
            || self.connections.retreated(leg.caller, leg.callee, leg.span, self.setting.tick)
    }

    /// Whether something on this hop takes time.
    fn is_delayed(&self, leg: Leg<'_>) -> bool {
        let is_slow = |by| matches!(by, CallFault::Slow(_));
        self.met_by(leg.request, leg.path, is_slow) || self.is_by_fault(leg, Failure::Late)
    }

    fn is_code_explained(&self, leg: Leg<'_>, code: Code) -> bool {
        let inside = self.hops.of(leg.request).iter().filter(|hop| hop.made.caller == Some(leg.callee));
        let mut inside = inside.filter_map(|hop| hop.ended.map(|(_, outcome)| outcome));
        let is_own = match code {
            Code::Internal => self.met_by(leg.request, leg.path, |by| by == CallFault::Panic),
            Code::ResourceExhausted => {
                self.met_by(leg.request, leg.path, |by| by == CallFault::Full) || self.was_full(leg)
            }
            Code::Unavailable => self.has_actor_died(leg),
            _ => false,
        };
        let is_passed_on = |outcome| match code {
            Code::Unavailable => [Outcome::NotSent, Outcome::Lost, Outcome::Said(code)].contains(&outcome),
            _ => outcome == Outcome::Said(code),
        };
        is_own || inside.any(is_passed_on) || self.is_allowed(leg, code)
    }

    /// Whether the scenario lets a fault on this hop make this code.
    fn is_allowed(&self, leg: Leg<'_>, code: Code) -> bool {
        let families = self.allowed.iter().filter(|(_, allowed)| *allowed == code);
        let mut families = families.map(|(family, _)| *family);
        families.any(|family| {
            let mut here = self.on(leg).filter(|(fault, _)| fault.family == family);
            here.any(|(fault, _)| fault.is_felt(leg.span, self.after(fault)))
        })
    }

    /// Whether the handler of `path` met such a fault of the plan for this request.
    fn met_by(&self, request: u32, path: &str, is_such: impl Fn(CallFault) -> bool) -> bool {
        let disturbed = self.disturbed.get(&request).into_iter().flatten();
        disturbed.into_iter().any(|disturbed| disturbed.path == path && is_such(disturbed.by))
    }

    /// Whether an actor that could have handled the call died meanwhile over another one.
    fn has_actor_died(&self, leg: Leg<'_>) -> bool {
        let (start, end) = (leg.span.0.saturating_sub(self.setting.tick), leg.span.1 + self.setting.tick);
        let mut panics = self.panics.iter().filter(|(at, ..)| (start..=end).contains(at));
        panics.any(|(_, host, service)| {
            *service == leg.callee
                && self.setting.graph.targets(leg.caller, leg.callee).any(|target| *target == **host)
        })
    }

    fn was_full(&self, leg: Leg<'_>) -> bool {
        let hosts: Vec<_> = self.setting.graph.targets(leg.caller, leg.callee).collect();
        self.rooms.was_full(leg.callee, &hosts, leg.span.0)
    }

    /// The faults that lie on this hop, and where.
    fn on<'a>(&'a self, leg: Leg<'a>) -> impl Iterator<Item = (&'a Fault, Place)> {
        self.faults.iter().filter_map(move |fault| Some((fault, self.place(leg, fault)?)))
    }

    fn place(&self, leg: Leg<'_>, fault: &Fault) -> Option<Place> {
        let is_entry = leg.caller == CLIENTS;
        let entered = is_entry.then(|| self.setting.graph.entry(leg.callee, leg.request)).flatten();
        let is_callee = |host: &str| entered.is_none_or(|entered| entered == host);
        let mut targets = self.setting.graph.targets(leg.caller, leg.callee).filter(|host| is_callee(host));
        let is_there = |host: &str| fault.is_on(host) || fault.is_between(leg.caller, host);
        match targets.any(is_there) {
            true if is_entry => Some(Place::Entry),
            true => Some(Place::Callee),
            false => fault.is_on(leg.caller).then_some(Place::Caller),
        }
    }

    fn is_by_fault(&self, leg: Leg<'_>, failure: Failure) -> bool {
        let mut culprits = self.on(leg).filter(|(fault, place)| allows(fault, *place, failure));
        culprits.any(|(fault, place)| {
            fault.is_felt(leg.span, self.after(fault))
                || self.is_heard_late(fault, leg)
                || self.is_half_open(fault, place, leg) && self.breaks(fault, failure, leg.span)
        })
    }

    /// Whether word of a fault, such as the FIN of a process that was killed, was itself held up by another.
    fn is_heard_late(&self, fault: &Fault, leg: Leg<'_>) -> bool {
        let lasted = (fault.from, fault.until.unwrap_or(Duration::MAX));
        let mut delays = self.on(leg).filter(|(other, _)| other.delays());
        delays.any(|(other, _)| {
            other.is_felt(lasted, other.backlog()) && other.is_felt(leg.span, self.after(other))
        })
    }

    /// A machine that lost its power told nobody: who was connected learns it with the next call, whenever that
    /// is. One call that works proves a new connection, where there is one at a time.
    fn is_half_open(&self, fault: &Fault, place: Place, leg: Leg<'_>) -> bool {
        let Some(until) = fault.until.filter(|_| fault.family == Family::PowerLoss) else { return false };
        let is_pool =
            leg.client.is_none() && self.entry(leg.request).is_some_and(|kind| kind.via == Via::Rest);
        let has_worked = || self.connections.has_worked(leg.client, &fault.host, (until, leg.span.0));
        place != Place::Caller && (is_pool || !has_worked())
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
    /// hop there and back. A connection that was in the making at a power loss is given up as late as a PING is.
    fn after(&self, fault: &Fault) -> Duration {
        let is_dark = fault.family == Family::PowerLoss;
        let silence = if is_dark { self.setting.silence } else { Duration::ZERO };
        fault.backlog().saturating_add(silence + self.setting.hop() * 2)
    }

    /// Whether something lies in the way of a node that could not connect.
    fn is_cut_off(&self, caller: &str, callee: &str, now: Duration) -> bool {
        let leg = Leg { request: 0, caller, client: None, callee, path: "", span: (now, now) };
        let mut on_way = self.on(leg).filter(|(fault, _)| fault.cuts_off());
        on_way.any(|(fault, _)| fault.is_felt(leg.span, self.after(fault)) || self.is_heard_late(fault, leg))
    }

    fn end_hop(&mut self, request: u32, hop: &Hop) -> Result<(), String> {
        let Some((at, outcome)) = hop.ended else { return Ok(()) };
        self.met += 1;
        if outcome == Outcome::Ok {
            if let Some(host) = self.hops.handled_on(request, hop.made.path) {
                self.connections.worked(Some(hop.made.client), Arc::clone(host), (hop.at, at));
            }
            return Ok(());
        }
        match Failure::of_hop(outcome) {
            Some(failure) if !self.is_hop_explained(request, hop, failure, at) => {
                let (host, path) = (&hop.host, hop.made.path);
                Err(format!("sim-{request:06}: the call from {host} to {path} came to {outcome}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a service may have called again, or waited, after this. Why it failed is judged by itself.
fn has_failed(hop: &Hop) -> bool {
    matches!(hop.ended, Some((_, Outcome::NotSent | Outcome::Lost | Outcome::Said(_))))
}

fn leg_of(request: u32, hop: &Hop, now: Duration) -> Leg<'_> {
    let made = &hop.made;
    let (callee, path, span) = (made.callee, made.path, hop.span(now));
    Leg { request, caller: &hop.host, client: Some(made.client), callee, path, span }
}

impl Invariant for StatusesAreExplained {
    fn name(&self) -> &str {
        super::STATUSES_ARE_EXPLAINED
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let place = self.setting.kinds.iter().position(|kind| kind.is_of(&call.request));
        self.entries.extend(place.map(|place| (call.request.id, place)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if !event.host.is_empty() {
            self.rooms.note(event);
        }
        if let (Some(request), Some(disturbed)) = (event.request, event.told::<HandlerDisturbed>()) {
            self.disturbed.entry(request).or_default().push(*disturbed);
            if disturbed.by == CallFault::Panic {
                self.panics.push((event.at, Arc::clone(&event.host), disturbed.service));
            }
        }
        if let Some((request, hop)) = self.hops.note(event).map(|(request, hop)| (request, hop.clone())) {
            return self.end_hop(request, &hop);
        }
        match self.connections.note(event)? {
            Some(callee) if !self.is_cut_off(&event.host, &callee, event.at) => {
                Err(format!("{} could not connect to {callee}, and nothing is in its way", event.host))
            }
            _ => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        let request = call.request.id;
        let Some(kind) = self.entry(request) else {
            return Err(format!("{} is none of the calls of this scenario", call.request_id));
        };
        let (service, path, expect, via) = (kind.service, kind.path, kind.expect.clone(), kind.via);
        let host = self.setting.graph.entry(service, request).unwrap_or_default().to_owned();
        self.met += 1;
        let span = (call.started, ended);
        let Some(failure) = Failure::of_reply(reply) else {
            // A REST client has any number of connections: that one works proves nothing of the others.
            if via == Via::Grpc {
                self.connections.worked(None, host.as_str().into(), span);
            }
            return Ok(());
        };
        let is_right = matches!(failure, Failure::Said(code) if expect.allows(code));
        let is_short = failure == Failure::Late && call.request.deadline < self.enough(request);
        let leg = Leg { request, caller: CLIENTS, client: None, callee: service, path, span };
        if is_right || is_short || self.is_explained(leg, failure) {
            return Ok(());
        }
        Err(format!("{} got {}", call.request_id, in_words(reply)))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
