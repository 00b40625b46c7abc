//! Nobody is told that a deadline has passed before it has.

use std::sync::Arc;

use sim::{Event, Invariant, Wants};

use super::hops::{Hop, Hops};
use super::names::NO_DEADLINE_PASSES_EARLY;
use crate::facts::Outcome;
use crate::setting::Setting;

/// A call between services that no handler has had ends with `DEADLINE_EXCEEDED` at its deadline and not before: a wait
/// on its way that has a limit of its own is not the call's. What a handler says is its own, and the beginning of a
/// stream is due before the stream is.
#[derive(Debug)]
pub(super) struct NoDeadlinePassesEarly {
    setting: Arc<Setting>,
    hops: Hops,
    met: u64,
}

impl NoDeadlinePassesEarly {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), hops: Hops::default(), met: 0 }
    }

    fn judge(&self, request: u32, hop: &Hop) -> Result<(), String> {
        let (Some((at, Outcome::Late)), Some(left)) = (hop.ended, hop.made.left) else { return Ok(()) };
        let due = hop.at.saturating_add(left);
        if hop.made.is_streaming
            || at + self.setting.tick >= due
            || self.hops.is_handled(request, hop.made.path)
        {
            return Ok(());
        }
        let (path, took, left) = (hop.made.path, (at - hop.at).as_millis(), left.as_millis());
        Err(format!(
            "sim-{request:06} {path}: {} called it with {left} ms left, and {took} ms later its deadline was said to have \
             passed, though nobody had handled it; expected that it waits until then, or goes elsewhere",
            hop.host
        ))
    }
}

impl Invariant for NoDeadlinePassesEarly {
    fn name(&self) -> &str {
        NO_DEADLINE_PASSES_EARLY
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some((request, hop)) = self.hops.note(event).map(|(request, hop)| (request, hop.clone())) else {
            return Ok(());
        };
        self.met += 1;
        self.judge(request, &hop)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
