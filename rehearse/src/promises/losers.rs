//! Attempts that another one was quicker than end with their call.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::deadlines::TURN;
use super::names::LOSERS_ARE_CANCELLED;
use crate::facts::{CallMade, CallOutcome, Outcome};

/// When one attempt of a call has worked, the others that are under way are dropped at once.
#[derive(Debug, Default)]
pub(super) struct LosersAreCancelled {
    /// The attempts that are under way, and the call of each.
    going: BTreeMap<u32, u32>,
    /// The calls that have worked beside attempts that were under way, and when.
    worked: BTreeMap<u32, Duration>,
    met: u64,
}

impl LosersAreCancelled {
    fn ended(&mut self, event: &Event, ended: &CallOutcome) -> Result<(), String> {
        let Some(call) = self.going.remove(&ended.hop) else { return Ok(()) };
        let has_others = self.going.values().any(|other| *other == call);
        let worked = self.worked.get(&call).copied();
        self.met += u64::from(ended.outcome == Outcome::Ok);
        if ended.outcome == Outcome::Ok && has_others {
            self.worked.entry(call).or_insert(event.at);
        } else if !has_others {
            self.worked.remove(&call);
        }
        let Some(worked) = worked else { return Ok(()) };
        // What is torn down with its host tells so when that happens.
        if event.at <= worked + TURN || event.host.is_empty() {
            return Ok(());
        }
        let late = (event.at - worked).as_millis();
        Err(format!("another attempt of the same call had worked {late} ms before: {event}"))
    }
}

impl Invariant for LosersAreCancelled {
    fn name(&self) -> &str {
        LOSERS_ARE_CANCELLED
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(made) = event.told::<CallMade>() {
            self.going.insert(made.hop, made.call);
        }
        event.told::<CallOutcome>().map_or(Ok(()), |ended| self.ended(event, ended))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
