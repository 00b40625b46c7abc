//! A call that failed is told of by its caller's node, with what became of each attempt.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants, What};
use transport::Code;

use super::names::FAILURES_ARE_TOLD;
use super::requests::ByRequest;
use crate::clients::http_status_of;
use crate::facts::{CallMade, CallOutcome, Outcome};
use crate::setting::Setting;

/// What stands between the attempts that a line tells of.
const AND: &str = "; ";

/// Each call between services of which all attempts that there may be have failed has a line at its caller, at once, which
/// tells of as many attempts as there were.
#[derive(Debug)]
pub(super) struct FailuresAreTold {
    setting: Arc<Setting>,
    requests: ByRequest<Vec<Made>>,
    /// The calls that are not told of yet, by request and number, and when that must have happened.
    due: Vec<(Duration, u32, u32)>,
    met: u64,
}

/// A call between services.
#[derive(Debug)]
struct Made {
    /// The number of its first attempt.
    number: u32,
    host: Arc<str>,
    path: &'static str,
    attempts_max: u32,
    /// Its attempts, and what each came to.
    attempts: Vec<(u32, Option<Outcome>)>,
}

impl FailuresAreTold {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), requests: ByRequest::default(), due: Vec::new(), met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade, request: u32) {
        let calls = self.requests.get_or_default(request);
        match calls.iter_mut().find(|call| call.number == made.call) {
            Some(call) => call.attempts.push((made.hop, None)),
            None => calls.push(Made {
                number: made.call,
                host: Arc::clone(&event.host),
                path: made.path,
                attempts_max: made.attempts_max,
                attempts: vec![(made.hop, None)],
            }),
        }
    }

    fn ended(&mut self, event: &Event, ended: &CallOutcome, request: u32) {
        let Some(calls) = self.requests.get_mut(request) else { return };
        for call in calls {
            let Some(attempt) = call.attempts.iter_mut().find(|(hop, _)| *hop == ended.hop) else { continue };
            attempt.1 = Some(ended.outcome);
            if call.has_failed() && !event.host.is_empty() {
                self.due.push((event.at + self.setting.tick, request, call.number));
            }
        }
    }

    /// A line of a call that has failed: which one that is follows from how many attempts there were.
    fn told(&mut self, event: &Event, request: u32, attempts: &str) -> Result<(), String> {
        let path = event.text("path").unwrap_or_default();
        let told = if attempts.is_empty() { 0 } else { attempts.split(AND).count() };
        let calls = self.requests.get(request).map_or(&[][..], Vec::as_slice);
        let of_it = || calls.iter().filter(|call| call.host == event.host && call.path == path);
        let is_due =
            |call: &&Made| self.due.iter().any(|(_, of, number)| (*of, *number) == (request, call.number));
        let Some(first) = of_it().find(is_due) else { return Ok(()) };
        self.met += 1;
        let Some(call) = of_it().filter(is_due).find(|call| call.attempts.len() == told) else {
            let made = first.attempts.len();
            return Err(format!("of {told} attempts, and {made} were made: {event}"));
        };
        let number = call.number;
        self.due.retain(|(_, of, due)| (*of, *due) != (request, number));
        Ok(())
    }

    fn late(&mut self, now: Duration) -> Result<(), String> {
        let Some((_, request, number)) = self.due.iter().find(|(due, ..)| *due < now) else { return Ok(()) };
        let calls = self.requests.get(*request).map_or(&[][..], Vec::as_slice);
        let call = calls.iter().find(|call| call.number == *number).expect("what is due was made");
        Err(format!(
            "sim-{request:06}: a call of {} to {} has failed after {} attempts, and its node has no line of that",
            call.host,
            call.path,
            call.attempts.len()
        ))
    }
}

impl Made {
    /// Whether all attempts that there may be have failed, the last one with more than what a service says in the line of its
    /// work.
    fn has_failed(&self) -> bool {
        let is_trouble = |outcome| match outcome {
            Outcome::NotSent | Outcome::Lost => true,
            Outcome::Said(code) => code == Code::ResourceExhausted || http_status_of(code) >= 500,
            Outcome::Ok | Outcome::Late | Outcome::Dropped => false,
        };
        let mut outcomes = self.attempts.iter().map(|(_, outcome)| outcome.is_some_and(is_trouble));
        self.attempts.len() >= self.attempts_max as usize && outcomes.all(|is_trouble| is_trouble)
    }
}

impl Invariant for FailuresAreTold {
    fn name(&self) -> &str {
        FAILURES_ARE_TOLD
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let What::FaultBegins { fault, .. } = &event.what {
            // Who is taken down may have no time for it.
            let (host, requests) = (fault.what.hosts().0, &self.requests);
            self.due.retain(|(_, request, number)| {
                let mut calls = requests.get(*request).into_iter().flatten();
                calls.any(|call| call.number == *number && *call.host != *host)
            });
        }
        if !self.due.is_empty() {
            self.late(event.at)?;
        }
        let Some(request) = event.request else { return Ok(()) };
        if let Some(made) = event.told::<CallMade>().filter(|made| !made.is_streaming) {
            self.made(event, made, request);
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(event, ended, request);
        } else if let Some(attempts) = event.text("attempts") {
            return self.told(event, request, attempts);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
