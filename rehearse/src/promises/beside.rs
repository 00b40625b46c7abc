//! Attempts beside one that has failed go on: one of them may still be answered.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Wants};
use transport::Code;

use super::names::OTHERS_GO_ON;
use crate::clients::code_named;
use crate::facts::{CallMade, CallOutcome, Outcome};

/// An attempt that fails in a way after which its call may be repeated takes no other attempt of the call along.
#[derive(Debug, Default)]
pub(super) struct OthersGoOn {
    /// The attempts that are under way.
    going: BTreeMap<u32, CallMade>,
    /// The calls of which an attempt failed beside others, when, and how.
    failed: BTreeMap<u32, (Duration, String)>,
    /// The requests of calls whose other attempts were given up with one that failed, and what tells so.
    given_up: BTreeMap<u32, String>,
    met: u64,
}

impl OthersGoOn {
    fn ended(&mut self, event: &Event, ended: &CallOutcome) {
        let Some(made) = self.going.remove(&ended.hop) else { return };
        // Also where no other is under way: a program that hedges no call keeps this promise as well.
        self.met += 1;
        let has_others = self.going.values().any(|other| other.call == made.call);
        if has_others && has_failed_alone(&made, ended.outcome) {
            self.failed.insert(made.call, (event.at, event.to_string()));
            return;
        }
        let failed = self.failed.get(&made.call).filter(|(at, _)| *at == event.at);
        // What is torn down with its host tells so when that happens.
        if let Some((_, failed)) =
            failed.filter(|_| ended.outcome == Outcome::Dropped && !event.host.is_empty())
        {
            let told = format!("{event}, when another one had failed: {failed}");
            self.given_up.extend(event.request.map(|request| (request, told)));
        }
        if !has_others {
            self.failed.remove(&made.call);
        }
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

impl Invariant for OthersGoOn {
    fn name(&self) -> &str {
        OTHERS_GO_ON
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(made) = event.told::<CallMade>() {
            self.going.insert(made.hop, *made);
        }
        if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(event, ended);
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(given_up) = self.given_up.remove(&call.request.id) else { return Ok(()) };
        // Who has gone has taken all attempts along.
        match call.reply.as_ref().filter(|reply| code_named(&reply.status).is_some()) {
            Some(_) => Err(format!("an attempt was given up that may have been answered yet: {given_up}")),
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
