//! A call that failed is told of by its caller's node, with what became of each attempt.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants, What};
use transport::Code;

use super::hops::{Hop, Hops};
use super::names::FAILURES_ARE_TOLD;
use crate::clients::http_status_of;
use crate::facts::Outcome;
use crate::setting::Setting;

/// What stands between the attempts that a line tells of.
const AND: &str = "; ";

/// Each call between services of which all attempts that there may be have failed has a line at its caller, at once, which
/// tells of as many attempts as there were.
#[derive(Debug)]
pub(super) struct FailuresAreTold {
    setting: Arc<Setting>,
    hops: Hops,
    /// The calls that are not told of yet, by request and number, and when that must have happened.
    due: Vec<(Duration, u32, u32)>,
    met: u64,
}

impl FailuresAreTold {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), hops: Hops::default(), due: Vec::new(), met: 0 }
    }

    fn note(&mut self, event: &Event) {
        let Some((request, hop)) = self.hops.note(event) else { return };
        let made = hop.made;
        let attempts = || attempts(&self.hops, request, made.call);
        let is_over = attempts().count() >= made.attempts_max as usize;
        if !made.is_streaming && is_over && attempts().all(has_failed) {
            self.due.push((event.at + self.setting.tick, request, made.call));
        }
    }

    /// A line of a call that has failed: which one that is follows from how many attempts there were.
    fn told(&mut self, event: &Event, request: u32, line: &str) -> Result<(), String> {
        let path = event.text("path").unwrap_or_default();
        let told = if line.is_empty() { 0 } else { line.split(AND).count() };
        let made = |call| attempts(&self.hops, request, call).count();
        let is_of_it = |hop: &Hop| hop.host == event.host && hop.made.path == path;
        let due = || {
            let of_request = self.due.iter().filter(|(_, of, _)| *of == request).map(|(.., call)| *call);
            of_request.filter(|call| attempts(&self.hops, request, *call).any(is_of_it))
        };
        let Some(first) = due().next() else { return Ok(()) };
        self.met += 1;
        let Some(call) = due().find(|call| made(*call) == told) else {
            return Err(format!("of {told} attempts, and {} were made: {event}", made(first)));
        };
        self.due.retain(|(_, of, due)| (*of, *due) != (request, call));
        Ok(())
    }

    fn late(&self, now: Duration) -> Result<(), String> {
        let Some((_, request, call)) = self.due.iter().find(|(due, ..)| *due < now) else { return Ok(()) };
        let mut made = attempts(&self.hops, *request, *call);
        let first = made.next().expect("what is due was made");
        Err(format!(
            "sim-{request:06}: a call of {} to {} has failed after {} attempts, and its node has no line of that",
            first.host,
            first.made.path,
            1 + made.count()
        ))
    }
}

/// The attempts of a call, by the number of the first.
fn attempts(hops: &Hops, request: u32, call: u32) -> impl Iterator<Item = &Hop> {
    hops.of(request).iter().filter(move |hop| hop.made.call == call)
}

/// Whether an attempt has failed with more than what a service says in the line of its work.
fn has_failed(hop: &Hop) -> bool {
    hop.ended.is_some_and(|(_, outcome)| match outcome {
        Outcome::NotSent | Outcome::Lost => true,
        Outcome::Said(code) => code == Code::ResourceExhausted || http_status_of(code) >= 500,
        Outcome::Ok | Outcome::Late | Outcome::Dropped => false,
    })
}

impl Invariant for FailuresAreTold {
    fn name(&self) -> &str {
        FAILURES_ARE_TOLD
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing().lines())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let What::FaultBegins { fault, .. } = &event.what {
            // Who is taken down may have no time for it.
            let (host, hops) = (fault.what.hosts().0, &self.hops);
            self.due
                .retain(|(_, request, call)| attempts(hops, *request, *call).any(|hop| *hop.host != *host));
        }
        self.late(event.at)?;
        self.note(event);
        match (event.request, event.text("attempts")) {
            (Some(request), Some(line)) => self.told(event, request, line),
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
