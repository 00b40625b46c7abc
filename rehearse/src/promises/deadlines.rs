//! What must hold of deadlines: they bound, and they only ever shrink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant};

use super::hops::Hops;
use super::names::{CALLS_END, DEADLINES_SHRINK};
use crate::facts::{CallMade, HandlerBegun, HandlerEnded, NodeStarted};
use crate::setting::Setting;

/// A timer is exact to the millisecond, and what it wakes runs in the same one.
pub(super) const TURN: Duration = Duration::from_millis(2);

/// Every call ends by its deadline, whatever happens.
#[derive(Debug, Default)]
pub(super) struct CallsEnd {
    met: u64,
}

/// What is allowed on top: a client keeps the time itself, by a timer.
const GRACE: Duration = Duration::from_millis(4);

impl Invariant for CallsEnd {
    fn name(&self) -> &str {
        CALLS_END
    }

    fn call_waiting(&mut self, call: &CallRecord, now: Duration) -> Result<(), String> {
        judge(call, now, "still waits")
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.met += 1;
        judge(call, call.ended.unwrap_or_default(), "ended")
    }

    fn met(&self) -> u64 {
        self.met
    }
}

fn judge(call: &CallRecord, now: Duration, what: &str) -> Result<(), String> {
    if now <= call.due() + GRACE {
        return Ok(());
    }
    let (id, late) = (&call.request_id, now - call.due());
    Err(format!("{id} {what} {} ms after its deadline", late.as_millis()))
}

/// Each hop gets what is left of its caller's deadline, and never more.
#[derive(Debug)]
pub(super) struct DeadlinesShrink {
    setting: Arc<Setting>,
    /// The rpc that each client called, and the deadline that the call came with.
    given: BTreeMap<u32, (&'static str, Duration)>,
    hops: Hops,
    /// The handlers that run.
    running: Vec<Running>,
    met: u64,
}

/// A handler that runs, and until when it may.
#[derive(Debug)]
struct Running {
    number: u32,
    host: Arc<str>,
    service: &'static str,
    path: &'static str,
    due: Option<Duration>,
}

impl DeadlinesShrink {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (given, hops, running) = (BTreeMap::new(), Hops::default(), Vec::new());
        Self { setting: Arc::clone(setting), given, hops, running, met: 0 }
    }

    /// A handler has no more left than the call that it handles had.
    fn begin(&mut self, event: &Event, number: u32, begun: &HandlerBegun) -> Result<(), String> {
        self.met += 1;
        let due = begun.left.map(|left| event.at + left);
        let HandlerBegun { service, path, left, .. } = *begun;
        self.running.push(Running { number, host: Arc::clone(&event.host), service, path, due });
        let entry =
            self.given.get(&number).filter(|(entry, _)| *entry == path).map(|(_, given)| Some(*given));
        let calls = self.hops.of(number).iter().filter(|hop| hop.made.path == path).map(|hop| hop.made.left);
        let had = calls.chain(entry).map(|left| left.unwrap_or(Duration::MAX)).max();
        let had = had.ok_or_else(|| format!("nobody called what is handled: {event}"))?;
        if left.unwrap_or(Duration::MAX) <= had {
            return Ok(());
        }
        Err(format!("{had:?} were left when it was called: {event}"))
    }

    /// A call has no more left than the handler that makes it. Work that outlives its handler has a deadline of
    /// its own.
    fn call(&mut self, event: &Event, number: u32, made: &CallMade) -> Result<(), String> {
        self.met += 1;
        let is_caller = |running: &&Running| {
            running.number == number && Some(running.service) == made.caller && running.host == event.host
        };
        let callers = self.running.iter().filter(is_caller);
        let Some(due) = callers.map(|running| running.due.unwrap_or(Duration::MAX)).max() else {
            return Ok(());
        };
        let ends = made.left.map_or(Duration::MAX, |left| event.at + left);
        if ends <= due.saturating_add(TURN) {
            return Ok(());
        }
        Err(format!("its caller had {} ms: {event}", due.saturating_sub(event.at).as_millis()))
    }
}

impl Invariant for DeadlinesShrink {
    fn name(&self) -> &str {
        DEADLINES_SHRINK
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(kind) = self.setting.kind(&call.request) {
            self.given.insert(call.request.id, (kind.path, self.setting.given(&call.request)));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            // What ran on the host before is gone, whether or not it could say so.
            self.running.retain(|running| running.host != event.host);
        }
        let begun = event.told::<HandlerBegun>();
        let Some(number) = event.request else {
            return begun.map_or(Ok(()), |_| Err(format!("a handler without a request: {event}")));
        };
        self.hops.note(event);
        if let Some(begun) = begun {
            self.begin(event, number, begun)
        } else if let Some(made) = event.told::<CallMade>() {
            self.call(event, number, made)
        } else if let Some(ended) = event.told::<HandlerEnded>() {
            let is_it = |running: &Running| {
                running.number == number && running.path == ended.path && running.host == event.host
            };
            if let Some(at) = self.running.iter().position(is_it) {
                self.running.swap_remove(at);
            }
            Ok(())
        } else {
            Ok(())
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
