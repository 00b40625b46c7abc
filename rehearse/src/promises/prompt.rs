//! A call that is repeated is so when its backoff is over, unless its callee pushes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::faults::Faults;
use super::names::REPEATED_WITHIN_BACKOFF;
use super::requests::ByRequest;
use crate::facts::{CallMade, CallOutcome, Outcome, PushedBack};
use crate::setting::Setting;

/// By how much waits are spread.
const SPREAD: f64 = 0.2;

/// An attempt follows on one that failed when the backoff has it, which doubles: not before, so that who is in trouble has time,
/// and no later. Clients of a rehearsal are mostly new, and those wait on where nothing is left to pay for an attempt, as long as
/// for those that they could have made. What one callee says of being called again is of its own attempt, and not of those that
/// come after; these wait as if they were the first.
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
    /// Whether any attempt of its call was made beside another one, without a wait.
    has_hedged: bool,
}

impl RepeatedWithinBackoff {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (faults, calls, open, pushed_back) = Default::default();
        Self { setting: Arc::clone(setting), faults, calls, open, pushed_back, met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        let before =
            self.calls.get(&made.call).map(|before| (before.began, before.failed, before.has_hedged));
        let (began, failed, had_hedged) = before.unwrap_or_default();
        let has_hedged = had_hedged || before.is_some() && failed.is_none();
        let attempt = Attempt { hop: made.hop, began: event.at, failed: None, has_hedged };
        self.open.insert(made.hop, made.call);
        self.calls.insert(made.call, attempt);
        let Some(failed) = failed else { return Ok(()) };
        let pushed_back = event.request.and_then(|request| self.pushed_back.get(request).copied());
        if pushed_back.is_some_and(|at| at >= began) {
            return Ok(());
        }
        self.met += 1;
        // Waits begin anew after a pushback, and there is none before an attempt beside another.
        let doublings = if has_hedged || pushed_back.is_some() { 0 } else { made.attempt.saturating_sub(1) };
        let (waited, least) = (event.at - failed, nominal(made, doublings).mul_f64(1. - SPREAD));
        if waited + self.setting.tick < least {
            return Err(format!(
                "its last attempt had failed {} ms before; expected a wait of {} ms at least, since waits double from {} \
                 ms up to {} ms, give or take a fifth: {event}",
                waited.as_millis(),
                least.as_millis(),
                made.waits.0.as_millis(),
                made.waits.1.as_millis()
            ));
        }
        self.in_time(event, made, failed)
    }

    fn in_time(&self, event: &Event, made: &CallMade, failed: Duration) -> Result<(), String> {
        let wait = |doublings| nominal(made, doublings).mul_f64(1. + SPREAD);
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

/// The wait after so many others, before it is spread.
fn nominal(made: &CallMade, doublings: u32) -> Duration {
    let (first, longest) = made.waits;
    first.saturating_mul(1 << doublings.min(16)).min(longest)
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
