//! Attempts that another one was quicker than end with their call: the first answer counts, be it good or bad.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Wants};
use transport::Code;

use super::deadlines::GRACE;
use super::names::LOSERS_ARE_CANCELLED;
use crate::clients::code_named;
use crate::facts::{CallMade, CallOutcome, Outcome};

/// When one attempt of a call has an answer, the others that are under way are dropped at once. What the call may be repeated
/// after is none: then the others go on, for one of them may still be answered.
#[derive(Debug, Default)]
pub(super) struct LosersAreCancelled {
    /// The attempts that are under way.
    going: BTreeMap<u32, CallMade>,
    /// The calls that were answered beside attempts that were under way, and when.
    answered: BTreeMap<u32, Duration>,
    /// The calls of which an attempt failed beside others, and when.
    failed: BTreeMap<u32, Duration>,
    /// The requests of calls whose other attempts were given up with one that failed.
    given_up: BTreeMap<u32, String>,
    met: u64,
}

impl LosersAreCancelled {
    fn ended(&mut self, event: &Event, ended: &CallOutcome) -> Result<(), String> {
        let Some(made) = self.going.remove(&ended.hop) else { return Ok(()) };
        let has_others = self.going.values().any(|other| other.call == made.call);
        let answered = self.answered.get(&made.call).copied();
        let is_answered = is_answer(&made, ended.outcome);
        self.met += u64::from(is_answered);
        let goes_on = has_failed_alone(&made, ended.outcome);
        if is_answered && has_others {
            self.answered.entry(made.call).or_insert(event.at);
        } else if goes_on && has_others {
            self.failed.insert(made.call, event.at);
        } else if ended.outcome == Outcome::Dropped
            && answered.is_none()
            && !event.host.is_empty()
            && self.failed.get(&made.call) == Some(&event.at)
        {
            self.given_up.extend(event.request.map(|request| (request, event.to_string())));
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

/// Whether this is a failure after which the call may go on: one that proves that nobody has handled it, or that its policy names.
fn has_failed_alone(made: &CallMade, outcome: Outcome) -> bool {
    match outcome {
        Outcome::NotSent => true,
        Outcome::Lost => made.retry_codes.has(Code::Unavailable),
        Outcome::Said(code) => made.retry_codes.has(code),
        Outcome::Ok | Outcome::Late | Outcome::Dropped => false,
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

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(given_up) = self.given_up.remove(&call.request.id) else { return Ok(()) };
        // Who has gone has taken all attempts along.
        match call.reply.as_ref().filter(|reply| code_named(&reply.status).is_some()) {
            Some(_) => {
                Err(format!("an attempt was given up as another one of its call had failed: {given_up}"))
            }
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
