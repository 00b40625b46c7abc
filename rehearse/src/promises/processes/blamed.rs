//! A call that fails has a fault to blame. Processes do not tell of the calls between them, so that the way of a call is
//! judged as a whole: what its client got needs a fault in force somewhere on the way, or in its aftermath, that can do
//! this to a call there, or a service that was full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallRecord, Event, Family, Invariant, Wants};
use transport::Code;

use crate::clients::is_beside;
use crate::facts::NodeStarted;
use crate::load::{Kind, Via};
use crate::promises::failure::{Failure, in_words};
use crate::promises::faults::{Fault, Faults};
use crate::promises::table::{Side, allows};
use crate::setting::Setting;

/// How long a connection that could not be made is left alone at first, give or take a fifth.
const BACKOFF: Duration = Duration::from_millis(1200);

/// Judges each call that did not work.
#[derive(Debug)]
pub(super) struct FailuresHaveAFault {
    setting: Arc<Setting>,
    allowed: Vec<(Family, Code)>,
    enough: Duration,
    faults: Faults,
    /// When each host was started.
    starts: BTreeMap<Arc<str>, Vec<Duration>>,
    /// From when to when each call lasted, as far as it has ended.
    spans: BTreeMap<u32, (Duration, Option<Duration>)>,
    /// The services that answered a call over gRPC.
    answered: BTreeSet<&'static str>,
    met: u64,
}

impl FailuresHaveAFault {
    pub(super) fn new(setting: &Arc<Setting>, allowed: Vec<(Family, Code)>, enough: Duration) -> Self {
        let (faults, starts, spans) = (Faults::default(), BTreeMap::new(), BTreeMap::new());
        let (setting, answered) = (Arc::clone(setting), BTreeSet::new());
        Self { setting, allowed, enough, faults, starts, spans, answered, met: 0 }
    }

    fn is_explained(&self, kind: &Kind, entry: &str, span: (Duration, Duration), failure: Failure) -> bool {
        if let Failure::Said(Code::ResourceExhausted) = failure
            && self.may_be_full(kind, span)
        {
            return true;
        }
        let none = Default::default();
        let way = self.setting.ways.get(kind.service).unwrap_or(&none);
        let mut faults = self.faults.iter().filter(|fault| self.is_felt(fault, span));
        faults.any(|fault| {
            let is_at_entry = fault.is_on(entry) || fault.is_between(CLIENTS, entry);
            let is_further = way.iter().any(|host| fault.is_at(host)) && !fault.is_at(CLIENTS);
            is_at_entry && self.may_end(fault, kind, span, failure)
                || is_further && self.may_fail(fault, failure)
        })
    }

    /// Whether a fault between the client and the host that it calls, or on that host, can do this.
    fn may_end(&self, fault: &Fault, kind: &Kind, span: (Duration, Duration), failure: Failure) -> bool {
        // What its machine had queued for a node that closes its listeners is reset. Over gRPC who was answered once is
        // connected.
        let on_way = self.setting.tick + self.setting.latency_max;
        let closes = fault.from + self.setting.drain_delay;
        let is_late = (closes..=closes + self.setting.held_up + on_way).contains(&(span.0 + on_way));
        let is_new = kind.via == Via::Rest || !self.answered.contains(kind.service);
        let is_queued = fault.family == Family::Drain && is_late && is_new && failure == Failure::Broken;
        is_queued || allows(fault, Side::Entry, failure)
    }

    /// Whether a fault further on the way can make a node say this.
    fn may_fail(&self, fault: &Fault, failure: Failure) -> bool {
        let can = |failure| {
            let sides = [Side::Callee, Side::Caller];
            sides.into_iter().any(|side| allows(fault, side, failure))
        };
        match failure {
            Failure::Late => can(Failure::Late),
            Failure::Said(Code::Unavailable) => can(Failure::Lost) || can(Failure::NotSent),
            Failure::Said(code) => self.allowed.contains(&(fault.family, code)),
            Failure::Broken | Failure::HungUp | Failure::Lost | Failure::NotSent | Failure::Wrong => false,
        }
    }

    /// Whether a fault was in force while a call lasted, or in its aftermath: what it held up comes, dead connections
    /// are found, processes start, and those that could not connect try again as much later as it lasted.
    fn is_felt(&self, fault: &Fault, span: (Duration, Duration)) -> bool {
        let Some(until) = fault.until else { return fault.from <= span.1 };
        if fault.family == Family::PowerLoss {
            // A machine that lost its power tells nobody, whenever its connections are used again.
            return fault.from <= span.1;
        }
        let is_down = fault.is_of_host() && matches!(fault.family, Family::Kill | Family::Drain);
        let starts = self.starts.iter().find(|(host, _)| fault.is_on(host)).map(|(_, starts)| starts);
        let up = starts.and_then(|starts| starts.iter().find(|start| **start >= until));
        let until = match up {
            _ if !is_down => until,
            Some(up) => *up,
            None => return fault.from <= span.1,
        };
        let lasted = until.saturating_sub(fault.from);
        let found = self.setting.found_dead() * 2 + self.setting.hop() * 2;
        let after = fault.backlog() + lasted + BACKOFF + found;
        fault.from <= span.1 && until + after >= span.0
    }

    /// Whether so many calls of clients were in flight beside this one that a service could be full, or a client of one
    /// could have no more calls out.
    fn may_be_full(&self, kind: &Kind, (from, until): (Duration, Duration)) -> bool {
        let limits = self.setting.limits;
        let most = if kind.is_streaming { limits.streams } else { limits.calls.min(limits.streams) };
        let most = self.setting.max_in_flight.values().map(|limit| limit.least).fold(most, usize::min);
        // Handlers outlast the calls of clients that have gone.
        let from = from.saturating_sub(self.setting.found_dead() + self.setting.hop());
        let beside = |span: &&(Duration, Option<Duration>)| {
            span.0 <= until && span.1.is_none_or(|ended| ended >= from)
        };
        self.spans.values().filter(beside).count() > most
    }

    fn judge(&self, call: &CallRecord, kind: &Kind, failure: Failure, ended: Duration) -> Result<(), String> {
        let entry = self.setting.graph.entry(kind.service, call.request.id).unwrap_or_default();
        // Hops that are not told of take their time, too.
        let hops = self.setting.ways.get(kind.service).map_or(1, |way| way.len());
        let enough = self.enough * u32::try_from(hops).unwrap_or(u32::MAX) + self.setting.held_up;
        if failure == Failure::Late && call.request.deadline.min(self.setting.given(&call.request)) < enough {
            return Ok(());
        }
        let span = (call.started, ended);
        if self.is_explained(kind, entry, span, failure) {
            return Ok(());
        }
        let faults: Vec<_> = self.faults.iter().map(ToString::to_string).collect();
        let got = call.reply.as_ref().map(in_words).unwrap_or_default();
        Err(format!(
            "{} {} called {entry} at {} ms with {} ms and got {got} at {} ms; the faults so far, none of which does that \
             to it: [{}]",
            call.request_id,
            call.request.kind,
            span.0.as_millis(),
            call.request.deadline.as_millis(),
            span.1.as_millis(),
            faults.join(", ")
        ))
    }
}

impl Invariant for FailuresHaveAFault {
    fn name(&self) -> &str {
        "a failure has a fault to blame"
    }

    fn wants(&self) -> Wants {
        Faults::wants()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.spans.insert(call.request.id, (call.started, call.ended));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if event.told::<NodeStarted>().is_some() {
            self.starts.entry(Arc::clone(&event.host)).or_default().push(event.at);
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        if is_beside(&call.request) {
            return Ok(());
        }
        self.met += 1;
        let setting = Arc::clone(&self.setting);
        let kind = setting.kind(&call.request).ok_or("a call that no client of this scenario makes")?;
        if kind.via == Via::Grpc && reply.request_id.is_some() {
            self.answered.insert(kind.service);
        }
        let Some(failure) = Failure::of_reply(reply).filter(|_| !reply.is_right) else { return Ok(()) };
        self.judge(call, kind, failure, ended)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
