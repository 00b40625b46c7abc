//! What further attempts may cost: a callee in trouble gets hardly more calls than its callers make.

use std::collections::BTreeMap;

use sim::{Event, Invariant, Wants};

use super::names::ATTEMPTS_ARE_PAID_FOR;
use crate::facts::{CallMade, CallOutcome, Outcome};

/// A client makes fewer than five attempts more than calls, and a tenth for each that worked, over its whole life: ten tokens in
/// the beginning, of which more than half must be left. Of those that are out nobody knows, as of streams that have begun. What is
/// sent again by itself, having been refused unread, is none of them.
#[derive(Debug, Default)]
pub(super) struct AttemptsArePaidFor {
    clients: BTreeMap<u32, Client>,
    /// Whose the attempts are that are out, and whether they stream.
    out: BTreeMap<u32, (u32, bool)>,
    met: u64,
}

#[derive(Debug, Default)]
struct Client {
    further: u32,
    worked: u32,
    out: u32,
}

impl AttemptsArePaidFor {
    fn ended(&mut self, ended: &CallOutcome) {
        let Some((client, is_streaming)) = self.out.remove(&ended.hop) else { return };
        let client = self.clients.entry(client).or_default();
        client.out -= 1;
        // One whose stream has begun has worked, whatever came of it.
        client.worked += u32::from(is_streaming || ended.outcome == Outcome::Ok);
    }

    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        let client = self.clients.entry(made.client).or_default();
        let (worked, out) = (client.worked, client.out);
        client.out += 1;
        self.out.insert(made.hop, (made.client, made.is_streaming));
        if made.attempt == 0 {
            return Ok(());
        }
        client.further += 1;
        self.met += 1;
        if client.further * 10 < 50 + worked + out {
            return Ok(());
        }
        Err(format!(
            "client {} makes attempt {} beyond its calls, {worked} of which have worked, and {out} are out; expected fewer than \
             five, and a tenth of those: {event}",
            made.client, client.further
        ))
    }
}

impl Invariant for AttemptsArePaidFor {
    fn name(&self) -> &str {
        ATTEMPTS_ARE_PAID_FOR
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(ended);
        }
        event.told::<CallMade>().map_or(Ok(()), |made| self.made(event, made))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
