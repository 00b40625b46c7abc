//! What must hold of drains: what a node has begun, it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Family, Invariant, Wants};
use transport::Code;

use super::failure::Failure;
use super::faults::{Fault, Faults};
use super::hops::Hops;
use super::names::DRAINS_CUT_OFF_NOTHING;
use super::right::Right;
use crate::facts::HandlerDisturbed;
use crate::setting::Setting;

/// A drain cuts off no call whose handler has begun on the draining host.
#[derive(Debug)]
pub(super) struct DrainsCutOffNothing {
    setting: Arc<Setting>,
    enough: Duration,
    faults: Faults,
    hops: Hops,
    right: Right,
    /// The requests of which a handler met a fault of the plan.
    disturbed: BTreeSet<u32>,
    met: u64,
}

impl DrainsCutOffNothing {
    pub(super) fn new(setting: &Arc<Setting>, enough: Duration) -> Self {
        let (faults, hops, right) = (Faults::default(), Hops::default(), Right::default());
        let (setting, disturbed) = (Arc::clone(setting), BTreeSet::new());
        Self { setting, enough, faults, hops, right, disturbed, met: 0 }
    }

    /// Judges the call of `path` for a request: a client's, or one between services.
    fn judge(
        &self,
        request: u32,
        path: &str,
        failure: Failure,
        span: (Duration, Duration),
    ) -> Result<(), String> {
        let Some((host, service)) = self.drained(request, path, span.1) else { return Ok(()) };
        let is_leaf = !self.hops.of(request).iter().any(|hop| hop.made.caller == Some(service));
        let is_cut_off = match failure {
            Failure::Lost | Failure::Broken | Failure::HungUp => true,
            // A handler that calls others may wait for those.
            Failure::Late | Failure::Said(Code::Cancelled | Code::Unknown | Code::Unavailable) => is_leaf,
            Failure::Said(_) | Failure::NotSent | Failure::Wrong => false,
        };
        if !is_cut_off || self.right.is(request, failure) || self.is_disturbed(request, span) {
            return Ok(());
        }
        let (from, to) = (span.0.as_millis(), span.1.as_millis());
        Err(format!(
            "sim-{request:06} {path}: the call, made at {from} ms, had begun on {host}, which drains, and at {to} ms it \
             {failure}; expected its answer, since a drain waits for what has begun"
        ))
    }

    /// Where a handler of `path` had begun for a request, if that host drained before the call ended; and the service.
    fn drained(&self, request: u32, path: &str, ended: Duration) -> Option<(Arc<str>, &'static str)> {
        let begun = self.hops.begun(request).iter().find(|begun| {
            let mut drains = self.faults.on_host(&begun.host).filter(|fault| fault.family == Family::Drain);
            begun.path == path && drains.any(|drain| drain.is_felt((begun.at, ended), Duration::ZERO))
        })?;
        Some((Arc::clone(&begun.host), begun.service))
    }

    /// Whether anything else could have ended the call. A host that has not left when its drain ends is killed, and one that
    /// has no more time leaves.
    fn is_disturbed(&self, request: u32, span: (Duration, Duration)) -> bool {
        let of_clock = [Family::ClockSkew, Family::ClockDrift, Family::ClockJump];
        let is_other = |fault: &Fault| match fault.family {
            Family::Drain => fault.was_killed() || fault.is_out_of_time(self.setting.leaves_within(), span.1),
            Family::SlowHandler | Family::PanickingHandler | Family::FullService | Family::RefusedStreams => {
                false
            }
            family => !of_clock.contains(&family),
        };
        let is_felt = |fault: &Fault| fault.is_felt(span, fault.felt_after(&self.setting));
        self.disturbed.contains(&request)
            || self
                .faults
                .iter()
                .any(|fault| is_other(fault) && (is_felt(fault) || fault.family == Family::PowerLoss))
    }
}

impl Invariant for DrainsCutOffNothing {
    fn name(&self) -> &str {
        DRAINS_CUT_OFF_NOTHING
    }

    fn wants(&self) -> Wants {
        Hops::wants(Faults::wants()).fact::<HandlerDisturbed>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.right.note(&self.setting, call);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if let (Some(request), Some(_)) = (event.request, event.told::<HandlerDisturbed>()) {
            self.disturbed.insert(request);
        }
        let Some((request, hop)) = self.hops.note(event) else { return Ok(()) };
        let ended = hop.ended.and_then(|(at, outcome)| Some((at, Failure::of_hop(outcome)?)));
        let Some((at, failure)) = ended.filter(|_| hop.made.left.is_none_or(|left| left >= self.enough))
        else {
            return Ok(());
        };
        let (path, span) = (hop.made.path, (hop.at, at));
        self.judge(request, path, failure, span)
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        let Some(path) = self.setting.kind(&call.request).map(|kind| kind.path) else { return Ok(()) };
        self.met += u64::from(self.drained(call.request.id, path, ended).is_some());
        let failure = Failure::of_reply(reply).filter(|_| call.request.deadline >= self.enough);
        failure.map_or(Ok(()), |failure| self.judge(call.request.id, path, failure, (call.started, ended)))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
