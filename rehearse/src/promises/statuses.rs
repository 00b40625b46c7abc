//! A call that fails, fails for a reason: each hop of its way is judged by what lay on that hop.
//!
//! A hop is one call: of a client to the host where its call enters, or of a service to another. What it comes to is
//! explained by a fault on the link between caller and callee or at one of them, while that is in force and in its
//! aftermath; by a fault of the plan that its handler met; by a service that had as many calls as it takes on; or by a
//! hop further inside that failed, which is judged by itself. Only then may a call fail.

use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallFault, CallRecord, Event, Family, Invariant, Wants};
use transport::Code;

use super::causes::{Causes, Leg};
use super::failure::{Failure, in_words, is_of_users};
use super::hops::{Hop, Hops};
use super::names::STATUSES_ARE_EXPLAINED;
use super::right::Right;
use super::twins::{Twin, Twins};
use crate::clients::is_beside;
use crate::facts::{CallOutcome, Outcome};
use crate::ids::is_made_by_node;
use crate::load::Via;
use crate::setting::Setting;

/// Judges each call that did not work.
#[derive(Debug)]
pub(super) struct StatusesAreExplained {
    setting: Arc<Setting>,
    allowed: Vec<(Family, Code)>,
    enough: Duration,
    causes: Causes,
    hops: Hops,
    right: Right,
    twins: Twins,
    met: u64,
}

impl StatusesAreExplained {
    pub(super) fn new(setting: &Arc<Setting>, allowed: Vec<(Family, Code)>, enough: Duration) -> Self {
        let (causes, hops, right) = (Causes::new(setting), Hops::default(), Right::default());
        let (setting, twins) = (Arc::clone(setting), Twins::default());
        Self { setting, allowed, enough, causes, hops, right, twins, met: 0 }
    }

    /// What a healthy call of this request may take: a caller with less is promised nothing.
    fn enough(&self, request: u32) -> Duration {
        let more = self.hops.of(request).len().saturating_sub(1);
        self.enough + self.enough / 2 * u32::try_from(more).unwrap_or(u32::MAX)
    }

    fn is_explained(&self, leg: Leg<'_>, failure: Failure) -> bool {
        match failure {
            Failure::Late => self.is_delay_explained(leg),
            Failure::Said(code) => self.is_code_explained(leg, code),
            Failure::NotSent => self.causes.keep_from_sending(leg),
            Failure::Broken | Failure::HungUp | Failure::Lost | Failure::Wrong => {
                self.causes.explain(leg, failure)
            }
        }
    }

    /// A call is late when something took time on its hop or on another one of its request, or when a service may
    /// have waited, or called again, because a call of its own had failed. Whoever gives a call of
    /// its own less time than there is makes all late that wait for it.
    fn is_delay_explained(&self, leg: Leg<'_>) -> bool {
        let hops = self.hops.of(leg.request);
        let has_failed =
            |hop: &Hop| matches!(hop.ended, Some((_, Outcome::NotSent | Outcome::Lost | Outcome::Said(_))));
        let gave_less = |hop: &Hop| {
            let is_less = |left| hop.made.had.is_none_or(|had| left < had);
            matches!(hop.ended, Some((_, Outcome::Late))) && hop.made.left.is_some_and(is_less)
        };
        self.causes.delay(leg)
            || hops.iter().any(|hop| self.causes.delay(Leg::of(leg.request, hop, leg.span.1)))
            || hops.iter().any(|hop| hop.made.caller == Some(leg.callee) && has_failed(hop) || gave_less(hop))
    }

    fn is_code_explained(&self, leg: Leg<'_>, code: Code) -> bool {
        let is_own = match code {
            Code::Internal => self.causes.met(leg, |by| by == CallFault::Panic),
            Code::ResourceExhausted => {
                self.causes.met(leg, |by| by == CallFault::Full)
                    || self.causes.was_full(leg)
                    || self.causes.lets_no_more_out(leg)
            }
            Code::Unavailable => self.causes.has_actor_died(leg) || self.causes.holds_back(leg),
            _ => false,
        };
        let is_passed_on = |outcome| match code {
            Code::Unavailable => [Outcome::NotSent, Outcome::Lost, Outcome::Said(code)].contains(&outcome),
            _ => outcome == Outcome::Said(code),
        };
        let inside = self.hops.of(leg.request).iter().filter(|hop| hop.made.caller == Some(leg.callee));
        let mut inside = inside.filter_map(|hop| hop.ended.map(|(_, outcome)| outcome));
        is_own || inside.any(is_passed_on) || self.causes.allow(leg, code, &self.allowed)
    }

    /// Whether a call that was made before, under the same idempotency key, came to that.
    fn is_of_twin(&self, leg: Leg<'_>, failure: Failure) -> bool {
        let explains = |twin: &Twin| {
            let is_short = failure == Failure::Late && twin.deadline < self.enough(twin.request);
            let leg = Leg { request: twin.request, span: (twin.started, leg.span.1), ..leg };
            is_short || self.is_explained(leg, failure)
        };
        matches!(failure, Failure::Late | Failure::Said(_)) && self.twins.of(leg.request).any(explains)
    }

    /// A call that failed for no reason, in words.
    fn in_words(&self, leg: Leg<'_>, failure: Failure, made: &str) -> String {
        let (from, to) = (leg.span.0.as_millis(), leg.span.1.as_millis());
        let (request, path, seen) = (leg.request, leg.path, self.causes.in_words(leg, failure));
        let inside = self.hops.of(request).iter().filter(|hop| hop.made.caller == Some(leg.callee));
        let inside: String = inside.map(|hop| self.inside(request, hop, leg.span.1)).collect();
        format!(
            "sim-{request:06} {path}: at {from} ms {made}, and at {to} ms the call {failure}; {seen}{inside}"
        )
    }

    /// What a call came to that was made from within another one, in words.
    fn inside(&self, request: u32, hop: &Hop, now: Duration) -> String {
        let (leg, at) = (Leg::of(request, hop, now), hop.at.as_millis());
        let what = match hop.ended {
            Some((ended, outcome)) => format!("which came to {outcome} at {} ms", ended.as_millis()),
            None => "which has not ended".to_owned(),
        };
        let seen = self.causes.in_words(leg, Failure::Late);
        format!("; from within it {} called {} at {at} ms, {what}; there, {seen}", leg.caller, leg.callee)
    }

    /// Judges a call between services that has ended.
    fn end_hop(&mut self, request: u32, hop: &Hop) -> Result<(), String> {
        let Some((at, outcome)) = hop.ended else { return Ok(()) };
        self.met += 1;
        let leg = Leg::of(request, hop, at);
        if outcome == Outcome::Ok {
            if let Some(host) = self.hops.handled_on(request, hop) {
                self.causes.worked(leg, host);
            }
            return Ok(());
        }
        if matches!(outcome, Outcome::Late | Outcome::Lost) && !self.hops.is_handled(request, leg.path) {
            self.causes.unheard(leg, hop.made.left);
        }
        let is_right = |failure| match failure {
            Failure::Late if hop.made.left.is_some_and(|left| left < self.enough(request)) => true,
            Failure::Said(code) if is_of_users(code) => true,
            failure => self.right.is(request, failure),
        };
        match Failure::of_hop(outcome) {
            Some(failure) if !is_right(failure) && !self.is_explained(leg, failure) => {
                let left =
                    hop.made.left.map_or("any time".to_owned(), |left| format!("{} ms", left.as_millis()));
                let made = format!("{} called {} with {left} left", leg.caller, leg.callee);
                Err(self.in_words(leg, failure, &made))
            }
            _ => Ok(()),
        }
    }
}

impl Invariant for StatusesAreExplained {
    fn name(&self) -> &str {
        STATUSES_ARE_EXPLAINED
    }

    fn wants(&self) -> Wants {
        Causes::wants().fact::<CallOutcome>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.right.note(&self.setting, call);
        self.twins.note(call);
        self.causes.note_call(call);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.causes.note(event)?;
        match self.hops.note(event).map(|(request, hop)| (request, hop.clone())) {
            Some((request, hop)) => self.end_hop(request, &hop),
            None => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        if is_beside(&call.request) {
            return Ok(());
        }
        let (setting, request) = (Arc::clone(&self.setting), call.request.id);
        let Some(kind) = setting.kind(&call.request) else {
            return Err(format!("{} is none of the calls of this scenario", call.request_id));
        };
        self.met += 1;
        let (is_pooled, is_stream, span) = (kind.via == Via::Rest, false, (call.started, ended));
        let (client, target) = (None, None);
        let (callee, path) = (kind.service, kind.path);
        let leg = Leg { request, caller: CLIENTS, client, is_pooled, is_stream, callee, target, path, span };
        let Some(failure) = Failure::of_reply(reply) else {
            let host = setting.graph.entry(callee, request).unwrap_or_default();
            self.causes.worked(leg, &host.into());
            return Ok(());
        };
        let is_right = self.right.is(request, failure);
        let is_short = failure == Failure::Late && call.request.deadline < self.enough(request);
        // What is done under an id that a node made is not known for this call's.
        let is_unknown = is_made_by_node(&call.request);
        let is_explained = || self.is_explained(leg, failure) || self.is_of_twin(leg, failure);
        if is_right || is_short || is_unknown || is_explained() {
            return Ok(());
        }
        let given = call.request.deadline.as_millis();
        let made = format!("a client called {callee} with {given} ms and got {}", in_words(reply));
        let broken = self.in_words(leg, failure, &made);
        Err(match failure {
            Failure::Said(code) if is_of_users(code) => {
                format!(
                    "{broken}; if {code:?} is right for it, its load says so: Expect::ok().or(Code::{code:?})"
                )
            }
            _ => broken,
        })
    }

    fn met(&self) -> u64 {
        self.met
    }
}
