//! What further attempts may cost: a callee in trouble gets hardly more calls than its callers make.

use std::collections::BTreeMap;

use sim::{Event, Invariant, Wants};

use super::names::ATTEMPTS_ARE_PAID_FOR;
use crate::facts::CallMade;

/// A client makes no more attempts than eleven tenths of its calls and five, over its whole life: ten tokens in the beginning,
/// of which half are left, and a tenth for each success. What is sent again by itself, having been refused unread, is none of them.
#[derive(Debug, Default)]
pub(super) struct AttemptsArePaidFor {
    /// Calls and attempts, by client.
    clients: BTreeMap<u32, (u32, u32)>,
    met: u64,
}

impl Invariant for AttemptsArePaidFor {
    fn name(&self) -> &str {
        ATTEMPTS_ARE_PAID_FOR
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(made) = event.told::<CallMade>() else { return Ok(()) };
        let (calls, attempts) = self.clients.entry(made.client).or_default();
        *calls += u32::from(made.attempt == 0);
        *attempts += 1;
        self.met += u64::from(made.attempt > 0);
        if *attempts * 10 <= *calls * 11 + 50 {
            return Ok(());
        }
        Err(format!(
            "client {} made {calls} calls, and this is attempt {attempts}; expected eleven tenths and five: {event}",
            made.client
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
