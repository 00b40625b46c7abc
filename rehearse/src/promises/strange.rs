//! What must hold of clients that speak as no library does: each gets what HTTP says, in time, and no more patience than is
//! due.

use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Family, Invariant, Wants};

use super::faults::{Fault, Faults};
use super::names::STRANGERS_ARE_SERVED;
use crate::clients::{CUT_OFF, LEFT, SERVED, visited};
use crate::setting::Setting;

/// Judges each visit of a stranger.
#[derive(Debug)]
pub(super) struct StrangersAreServed {
    setting: Arc<Setting>,
    faults: Faults,
    met: u64,
}

impl StrangersAreServed {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), faults: Faults::default(), met: 0 }
    }

    /// Whether a fault explains how a visit to `host` has ended. A host that drains may cut it short, and still says nothing
    /// wrong.
    fn is_explained(&self, host: &str, status: &str, span: (Duration, Duration)) -> bool {
        let explains = |fault: &Fault| match fault.family {
            Family::ClockSkew | Family::ClockDrift | Family::ClockJump => false,
            Family::Drain if fault.is_on(host) => status == CUT_OFF,
            _ => true,
        };
        let is_felt = |fault: &Fault| fault.is_felt(span, fault.felt_after(&self.setting));
        self.faults.iter().any(|fault| explains(fault) && is_felt(fault))
    }
}

impl Invariant for StrangersAreServed {
    fn name(&self) -> &str {
        STRANGERS_ARE_SERVED
    }

    fn wants(&self) -> Wants {
        Faults::wants()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some((host, title))) = (&call.reply, visited(&call.request)) else { return Ok(()) };
        if reply.status == LEFT {
            return Ok(());
        }
        self.met += 1;
        let span = (call.started, call.ended.unwrap_or_default());
        if reply.status == SERVED || self.is_explained(host, &reply.status, span) {
            return Ok(());
        }
        Err(format!("{}: the visit {title:?} to {host}: {}", call.request_id, reply.value))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
