//! A client has no more calls out than its policy says, where that says how many (`max-in-flight`).

use std::collections::BTreeMap;
use std::sync::Arc;

use sim::{Event, Invariant, Wants};

use super::names::NO_MORE_IN_FLIGHT;
use crate::facts::{CallMade, CallOutcome};
use crate::setting::{InFlight, Setting};

/// At no time a client has more calls out than it may. One that waits to be repeated is not seen to be, so that it is not
/// counted; a streamed answer is in flight until it has ended.
#[derive(Debug)]
pub(super) struct NoMoreInFlight {
    setting: Arc<Setting>,
    /// The calls of each client that are out, with their attempts.
    out: BTreeMap<u32, BTreeMap<u32, Vec<u32>>>,
    met: u64,
}

impl NoMoreInFlight {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), out: BTreeMap::new(), met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        let Some(InFlight { most, .. }) = self.setting.max_in_flight.get(made.callee) else { return Ok(()) };
        let out = self.out.entry(made.client).or_default();
        out.entry(made.call).or_default().push(made.hop);
        self.met += 1;
        let count = out.len();
        if count <= *most {
            return Ok(());
        }
        Err(format!("its client has {count} calls out to {}; expected {most} at most: {event}", made.callee))
    }

    fn ended(&mut self, ended: &CallOutcome) {
        for out in self.out.values_mut() {
            out.values_mut().for_each(|attempts| attempts.retain(|attempt| *attempt != ended.hop));
            out.retain(|_, attempts| !attempts.is_empty());
        }
    }
}

impl Invariant for NoMoreInFlight {
    fn name(&self) -> &str {
        NO_MORE_IN_FLIGHT
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
