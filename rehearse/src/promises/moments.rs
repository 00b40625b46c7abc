//! A deadline is one moment for all who work on a call: what is left of it shrinks as time passes.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::deadlines::GRACE;
use super::faults::{Fault, Faults};
use super::names::DEADLINES_ARE_MOMENTS;
use super::requests::ByRequest;
use crate::facts::{CallMade, HandlerBegun};
use crate::setting::Setting;

/// A handler's deadline is that of the call which it handles, but for the time that the request was on its way: what is
/// left travels, so that a segment's way is added to it. Whatever comes before, as connecting, is not.
#[derive(Debug)]
pub(super) struct DeadlinesAreMoments {
    setting: Arc<Setting>,
    faults: Faults,
    /// The calls that services made, by the request that they belong to.
    calls: ByRequest<Vec<Call>>,
    met: u64,
}

/// A call that a service made.
#[derive(Debug)]
struct Call {
    path: &'static str,
    host: Arc<str>,
    at: Duration,
    /// Its deadline; `None` if it has none.
    due: Option<Duration>,
}

impl DeadlinesAreMoments {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), faults: Faults::default(), calls: ByRequest::default(), met: 0 }
    }

    fn judge(&mut self, event: &Event, number: u32, begun: &HandlerBegun) -> Result<(), String> {
        let (path, left) = (begun.path, begun.left.unwrap_or(Duration::MAX));
        let calls = self.calls.get(number).into_iter().flatten().filter(|call| call.path == path);
        let Some(dues) = calls.map(|call| Some((call.due?, call))).collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        // What a client has called itself is judged where that call ends.
        let first = dues.iter().min_by_key(|(due, _)| *due);
        // Attempts of one call have one deadline: any of them may be this one, and the first had the longest way.
        let last = dues.iter().rev().max_by_key(|(due, _)| *due);
        let Some(((earliest, _), (latest, call))) = first.zip(last) else { return Ok(()) };
        self.met += 1;
        let due = event.at.saturating_add(left);
        let on_way = |call| if begun.is_local { GRACE } else { self.on_way(call, event) };
        // Within a tick, hosts take their turns one after the other.
        if due + self.setting.tick + GRACE < *earliest {
            let lost = (*earliest - due).as_millis();
            return Err(format!(
                "{} {lost} ms before that of the call",
                of_handler(event, number, begun, call)
            ));
        }
        // Of the attempts of a call, any may be the one that is handled: the first as well, after the last was made.
        if dues.iter().any(|(made_due, call)| due <= *made_due + on_way(call)) {
            return Ok(());
        }
        let (late, on_way) = (due.saturating_sub(*latest).as_millis(), on_way(call).as_millis());
        Err(format!(
            "{} {late} ms after that of the call; expected {on_way} ms at most, for the way of the request",
            of_handler(event, number, begun, call)
        ))
    }

    /// How long the request of `call` may have been on its way: a segment's time over a healthy link and as much again,
    /// a segment's time over a slow one, and as long as nothing could pass.
    fn on_way(&self, call: &Call, event: &Event) -> Duration {
        let (from, to, span) = (&*call.host, &*event.host, (call.at, event.at));
        let is_on_way = |fault: &&Fault| fault.is_between(from, to) || fault.is_on(from) || fault.is_on(to);
        let here: Vec<_> = self.faults.iter().filter(is_on_way).collect();
        let slow = here.iter().filter(|fault| fault.family == Family::SlowLink);
        let slow =
            slow.filter(|fault| fault.is_felt(span, fault.backlog().saturating_add(self.setting.tick)));
        let slow = slow.map(|fault| fault.backlog()).max().unwrap_or_default();
        let blocked: Duration =
            here.iter().filter(|fault| fault.blocks()).map(|fault| fault.overlap(span)).sum();
        self.setting.hop() * 2 + slow + blocked.min(event.at.saturating_sub(call.at))
    }
}

fn of_handler(event: &Event, number: u32, begun: &HandlerBegun, call: &Call) -> String {
    let after = event.at.saturating_sub(call.at).as_millis();
    let left = begun.left.unwrap_or_default().as_millis();
    format!(
        "sim-{number:06} {}: called by {}, its handler began on {} {after} ms later with {left} ms left: its deadline is",
        begun.path, call.host, event.host
    )
}

impl Invariant for DeadlinesAreMoments {
    fn name(&self) -> &str {
        DEADLINES_ARE_MOMENTS
    }

    fn wants(&self) -> Wants {
        Faults::wants().fact::<CallMade>().fact::<HandlerBegun>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        let Some(number) = event.request.filter(|_| !event.host.is_empty()) else { return Ok(()) };
        if let Some(CallMade { path, left, .. }) = event.told() {
            let due = left.map(|left| event.at.saturating_add(left));
            let call = Call { path, host: Arc::clone(&event.host), at: event.at, due };
            self.calls.get_or_default(number).push(call);
        }
        event.told::<HandlerBegun>().map_or(Ok(()), |begun| self.judge(event, number, begun))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
