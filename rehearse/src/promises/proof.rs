//! A call that is not idempotent is repeated only where nobody can have handled it.

use std::collections::BTreeMap;

use sim::{Event, Invariant, Wants};

use super::names::REPEATED_ONLY_WITH_PROOF;
use crate::facts::{CallMade, CallOutcome, Outcome};

/// A call that its contract does not call idempotent is made again only if every attempt before has come to the proof
/// that nobody has handled it.
#[derive(Debug, Default)]
pub(super) struct RepeatedOnlyWithProof {
    /// The attempts of calls that are not idempotent that have not come to that proof, by the number of the call: how
    /// many there are, and what the last one came to.
    unproven: BTreeMap<u32, (u32, Option<Outcome>)>,
    /// The call of each of these attempts.
    calls: BTreeMap<u32, u32>,
    met: u64,
}

impl RepeatedOnlyWithProof {
    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        self.met += 1;
        if made.is_idempotent {
            return Ok(());
        }
        self.calls.insert(made.hop, made.call);
        let (count, last) = self.unproven.entry(made.call).or_default();
        *count += 1;
        if *count == 1 {
            return Ok(());
        }
        let last = last.map_or("has not ended".to_owned(), |outcome| format!("came to {outcome}"));
        Err(format!(
            "it is not idempotent, and an attempt before {last}; expected the proof that it was not sent: {event}"
        ))
    }

    fn ended(&mut self, ended: &CallOutcome) {
        let Some(call) = self.calls.remove(&ended.hop) else { return };
        if let Some((count, last)) = self.unproven.get_mut(&call) {
            *count -= u32::from(ended.outcome == Outcome::NotSent);
            *last = Some(ended.outcome);
        }
    }
}

impl Invariant for RepeatedOnlyWithProof {
    fn name(&self) -> &str {
        REPEATED_ONLY_WITH_PROOF
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(made) = event.told::<CallMade>() {
            return self.made(event, made);
        }
        event.told::<CallOutcome>().into_iter().for_each(|ended| self.ended(ended));
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
