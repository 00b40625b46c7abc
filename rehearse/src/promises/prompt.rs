//! A call that is repeated is so within its backoff, unless its callee pushes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::faults::Faults;
use super::names::REPEATED_WITHIN_BACKOFF;
use super::requests::ByRequest;
use crate::facts::{CallMade, CallOutcome, Outcome, PushedBack};
use crate::setting::Setting;

/// The longest waits after the first attempt and of all: the defaults, spread by a fifth. No scenario says longer ones.
const FIRST: Duration = Duration::from_millis(60);
const LONGEST: Duration = Duration::from_millis(1200);

/// An attempt follows on one that failed no later than the backoff has it. Clients of a rehearsal are mostly new, and those wait on
/// where nothing is left to pay for an attempt, as long as for those that they could have made. What one callee says of being
/// called again is of its own attempt, and not of those that come after.
#[derive(Debug)]
pub(super) struct RepeatedWithinBackoff {
    setting: Arc<Setting>,
    faults: Faults,
    /// The last attempt of each call, by the number of its first.
    calls: BTreeMap<u32, Attempt>,
    /// The call of each attempt that has not ended.
    open: BTreeMap<u32, u32>,
    /// When somebody has pushed back, by request.
    pushed_back: ByRequest<Duration>,
    met: u64,
}

#[derive(Debug)]
struct Attempt {
    hop: u32,
    began: Duration,
    failed: Option<Duration>,
}

impl RepeatedWithinBackoff {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (faults, calls, open, pushed_back) = Default::default();
        Self { setting: Arc::clone(setting), faults, calls, open, pushed_back, met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        let attempt = Attempt { hop: made.hop, began: event.at, failed: None };
        self.open.insert(made.hop, made.call);
        let Some(before) = self.calls.insert(made.call, attempt) else { return Ok(()) };
        let Some(failed) = before.failed else { return Ok(()) };
        let pushed_back = event.request.and_then(|request| self.pushed_back.get(request).copied());
        if pushed_back.is_some_and(|at| at >= before.began) {
            return Ok(());
        }
        self.met += 1;
        let wait = |doublings: u32| FIRST.saturating_mul(1 << doublings.min(10)).min(LONGEST);
        // Each attempt that was waited for and not made is one less of those there may be.
        let skipped: Duration = (made.attempt..made.attempts_max.saturating_sub(1)).map(wait).sum();
        let most = wait(made.attempt.saturating_sub(1)) + skipped + self.setting.tick;
        // A host that stands still calls nobody.
        let mut here = self.faults.on_host(&event.host).filter(|fault| fault.family == Family::Pause);
        let is_felt = here.any(|pause| pause.is_felt((failed, event.at), Duration::ZERO));
        if is_felt || event.at <= failed + most {
            return Ok(());
        }
        let (waited, most) = ((event.at - failed).as_millis(), most.as_millis());
        Err(format!(
            "its last attempt had failed {waited} ms before, and its callee had not pushed back; expected {most} ms at \
             most: {event}"
        ))
    }

    fn ended(&mut self, event: &Event, ended: &CallOutcome) {
        let Some(call) = self.open.remove(&ended.hop) else { return };
        let last = self.calls.get_mut(&call).filter(|attempt| attempt.hop == ended.hop);
        if let Outcome::NotSent | Outcome::Lost | Outcome::Said(_) = ended.outcome {
            last.into_iter().for_each(|attempt| attempt.failed = Some(event.at));
        } else if last.is_some() {
            // Nothing follows on it.
            self.calls.remove(&call);
        }
    }
}

impl Invariant for RepeatedWithinBackoff {
    fn name(&self) -> &str {
        REPEATED_WITHIN_BACKOFF
    }

    fn wants(&self) -> Wants {
        Faults::wants().fact::<CallMade>().fact::<CallOutcome>().fact::<PushedBack>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if let (Some(request), Some(_)) = (event.request, event.told::<PushedBack>()) {
            *self.pushed_back.get_or_default(request) = event.at;
        } else if let Some(made) = event.told::<CallMade>() {
            return self.made(event, made);
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(event, ended);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
