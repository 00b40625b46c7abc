//! What must hold of drains: what a node has begun, it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Family, Invariant};
use transport::Code;

use super::failure::{Failure, in_words};
use super::faults::{Fault, Faults};
use super::hops::{Hop, Hops};
use super::names::DRAINS_CUT_OFF_NOTHING;
use crate::facts::{HandlerDisturbed, Outcome};
use crate::setting::Setting;

/// A drain cuts off no call whose handler has begun on the draining host.
#[derive(Debug)]
pub(super) struct DrainsCutOffNothing {
    setting: Arc<Setting>,
    enough: Duration,
    faults: Faults,
    hops: Hops,
    /// How many handlers of each request met a fault of the plan.
    disturbed: BTreeMap<u32, u32>,
    met: u64,
}

impl DrainsCutOffNothing {
    pub(super) fn new(setting: &Arc<Setting>, enough: Duration) -> Self {
        let (faults, hops, disturbed) = (Faults::default(), Hops::default(), BTreeMap::new());
        Self { setting: Arc::clone(setting), enough, faults, hops, disturbed, met: 0 }
    }

    /// The first host which drained before the call ended and on which a handler of it had begun, and whether that
    /// host could not send a call further: such a call ends for a reason that is not on this host.
    fn drained(&self, request: u32, ended: Duration) -> Option<(Arc<str>, bool)> {
        let begun = self.hops.begun(request).iter().find(|begun| {
            let mut drains = self.faults.on_host(&begun.host).filter(|fault| fault.family == Family::Drain);
            drains.any(|drain| drain.is_felt((begun.at, ended), Duration::ZERO))
        })?;
        let is_unsent =
            |hop: &Hop| hop.host == begun.host && matches!(hop.ended, Some((_, Outcome::NotSent)));
        Some((Arc::clone(&begun.host), self.hops.of(request).iter().any(is_unsent)))
    }

    /// Whether anything else could have ended the call. A host that has not left when its drain ends is killed.
    fn is_disturbed(&self, call: &CallRecord, ended: Duration) -> bool {
        let of_clock = [Family::ClockSkew, Family::ClockDrift, Family::ClockJump];
        let is_other = |fault: &Fault| match fault.family {
            Family::Drain => fault.until.is_some() && !fault.has_left,
            Family::SlowHandler | Family::PanickingHandler | Family::FullService => false,
            family => !of_clock.contains(&family),
        };
        let after =
            |fault: &Fault| fault.backlog().saturating_add(self.setting.silence + self.setting.hop() * 2);
        let is_felt = |fault: &Fault| fault.is_felt((call.started, ended), after(fault));
        self.disturbed.contains_key(&call.request.id)
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

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        self.hops.note(event);
        if let (Some(request), Some(_)) = (event.request, event.told::<HandlerDisturbed>()) {
            *self.disturbed.entry(request).or_default() += 1;
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        let Some((host, is_refused)) = self.drained(call.request.id, ended) else { return Ok(()) };
        self.met += 1;
        let Some(failure) = Failure::of_reply(reply) else { return Ok(()) };
        let is_answer = matches!(failure, Failure::Said(code) if code != Code::Unavailable);
        let is_short = call.request.deadline < self.enough;
        if is_answer || is_refused || is_short || self.is_disturbed(call, ended) {
            return Ok(());
        }
        Err(format!("{} was cut off on {host}: {}", call.request_id, in_words(reply)))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
