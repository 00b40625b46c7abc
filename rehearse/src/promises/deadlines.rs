//! What must hold of deadlines: they bound, and they only ever shrink.

use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Wants};

use super::hops::Lefts;
use super::names::{CALLS_END, DEADLINES_SHRINK};
use super::requests::ByRequest;
use crate::facts::{CallMade, HandlerBegun};
use crate::setting::Setting;

/// How late a node may be with what is due: a timer is exact to the millisecond, and what it wakes runs in the same one.
pub(super) const GRACE: Duration = Duration::from_millis(2);

/// Every call ends by its deadline, whatever happens.
#[derive(Debug)]
pub(super) struct CallsEnd {
    grace: Duration,
    met: u64,
}

/// The same of a client, which keeps the time itself, by a timer of its own.
const CLIENT_GRACE: Duration = Duration::from_millis(4);

impl CallsEnd {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { grace: CLIENT_GRACE + setting.held_up, met: 0 }
    }
}

impl Invariant for CallsEnd {
    fn name(&self) -> &str {
        CALLS_END
    }

    fn wants(&self) -> Wants {
        Wants::nothing().waiting()
    }

    fn call_waiting(&mut self, call: &CallRecord, now: Duration) -> Result<(), String> {
        judge(call, now, self.grace, "its client still waits")
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.met += 1;
        judge(call, call.ended.unwrap_or_default(), self.grace, "its client had its reply")
    }

    fn met(&self) -> u64 {
        self.met
    }
}

fn judge(call: &CallRecord, now: Duration, grace: Duration, what: &str) -> Result<(), String> {
    if now <= call.due() + grace {
        return Ok(());
    }
    let (id, kind, given) = (&call.request_id, &call.request.kind, call.request.deadline.as_millis());
    let (late, grace) = ((now - call.due()).as_millis(), grace.as_millis());
    Err(format!(
        "{id} {kind} had {given} ms, and {what} {late} ms after its deadline; expected {grace} ms after it at most"
    ))
}

/// Each hop gets what is left of its caller's deadline, and never more.
#[derive(Debug)]
pub(super) struct DeadlinesShrink {
    setting: Arc<Setting>,
    /// The rpc that each client called, and the deadline that the call came with.
    given: ByRequest<(&'static str, Duration)>,
    lefts: Lefts,
    met: u64,
}

impl DeadlinesShrink {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), given: ByRequest::default(), lefts: Lefts::default(), met: 0 }
    }

    /// A handler has no more left than the call that it handles had.
    fn begin(&mut self, event: &Event, number: u32, begun: &HandlerBegun) -> Result<(), String> {
        self.met += 1;
        let HandlerBegun { path, left, .. } = *begun;
        let entry = self.given.get(number).filter(|(entry, _)| *entry == path).map(|(_, given)| *given);
        let had = self.lefts.longest(number, path).max(entry);
        let had = had.ok_or_else(|| format!("nobody called what is handled: {event}"))?;
        if left.unwrap_or(Duration::MAX) <= had {
            return Ok(());
        }
        let (left, had) = (in_ms(left), in_ms(Some(had)));
        Err(format!(
            "sim-{number:06} {path}: its handler began on {} with {left} left, and it had {had} when it was called; \
             expected no more",
            event.host
        ))
    }

    /// A call has no more left than what it is made from within.
    fn call(&mut self, event: &Event, number: u32, made: &CallMade) -> Result<(), String> {
        self.met += 1;
        let CallMade { left, had, path, .. } = *made;
        if had.is_none_or(|had| left.is_some_and(|left| left <= had)) {
            return Ok(());
        }
        let (caller, host) = (made.caller.unwrap_or("nobody"), &event.host);
        let (left, had) = (in_ms(left), in_ms(had));
        Err(format!(
            "sim-{number:06} {path}: {caller} called it from {host} with {left} left, from within a call that has {had} \
             left; expected no more"
        ))
    }
}

/// What is left of a deadline, in words.
fn in_ms(left: Option<Duration>) -> String {
    match left {
        Some(left) if left < Duration::MAX => format!("{} ms", left.as_millis()),
        _ => "any time".to_owned(),
    }
}

impl Invariant for DeadlinesShrink {
    fn name(&self) -> &str {
        DEADLINES_SHRINK
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<HandlerBegun>().fact::<CallMade>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(kind) = self.setting.kind(&call.request) {
            self.given.insert(call.request.id, (kind.path, self.setting.given(&call.request)));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let begun = event.told::<HandlerBegun>();
        let Some(number) = event.request else {
            // Whether an id that no client sent may be there is judged with the ids.
            let has_none = begun.is_some() && event.request_id.is_none();
            return if has_none { Err(format!("a handler without a request: {event}")) } else { Ok(()) };
        };
        self.lefts.note(event);
        if let Some(begun) = begun {
            self.begin(event, number, begun)
        } else if let Some(made) = event.told::<CallMade>() {
            self.call(event, number, made)
        } else {
            Ok(())
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
