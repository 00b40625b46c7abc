//! Attempts that another one was quicker than end with their call: the first answer counts, be it good or bad.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::deadlines::GRACE;
use super::names::LOSERS_ARE_CANCELLED;
use crate::facts::{CallMade, CallOutcome, Outcome};

/// When one attempt of a call has an answer, the others that are under way are dropped at once. What the call may be repeated
/// after is none.
#[derive(Debug, Default)]
pub(super) struct LosersAreCancelled {
    /// The attempts that are under way.
    going: BTreeMap<u32, CallMade>,
    /// The calls that were answered beside attempts that were under way, and when.
    answered: BTreeMap<u32, Duration>,
    met: u64,
}

impl LosersAreCancelled {
    fn ended(&mut self, event: &Event, ended: &CallOutcome) -> Result<(), String> {
        let Some(made) = self.going.remove(&ended.hop) else { return Ok(()) };
        let has_others = self.going.values().any(|other| other.call == made.call);
        let answered = self.answered.get(&made.call).copied();
        let is_answered = is_answer(&made, ended.outcome);
        self.met += u64::from(is_answered);
        if is_answered && has_others {
            self.answered.entry(made.call).or_insert(event.at);
        }
        if !has_others {
            self.answered.remove(&made.call);
        }
        let Some(answered) = answered else { return Ok(()) };
        // What is torn down with its host tells so when that happens.
        if event.at <= answered + GRACE || event.host.is_empty() {
            return Ok(());
        }
        let late = (event.at - answered).as_millis();
        Err(format!(
            "another attempt of the same call was answered {late} ms before, which ends the call; expected that this one \
             is given up then: {event}"
        ))
    }
}

/// Whether the call is over with this. A failure that proves nothing of its handling may be followed by another attempt.
fn is_answer(made: &CallMade, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ok => true,
        Outcome::Said(code) => !made.retry_codes.has(code),
        Outcome::NotSent | Outcome::Lost | Outcome::Late | Outcome::Dropped => false,
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
            self.going.insert(made.hop, *made);
        }
        event.told::<CallOutcome>().map_or(Ok(()), |ended| self.ended(event, ended))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
