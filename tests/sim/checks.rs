//! What must hold whatever happens. One type or function for each promise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, EventKind, Invariant};

use crate::hosts::{BEGUN, ENDED};

/// The right value for the right caller.
pub(crate) fn right_value(call: &CallRecord) -> Result<(), String> {
    let Some(reply) = call.reply.as_ref().filter(|reply| reply.is_ok()) else { return Ok(()) };
    let name = call.request.argument.to_uppercase();
    let expected = if call.request.kind == "name" { name } else { format!("Hello, {name}!") };
    if reply.value == expected {
        return Ok(());
    }
    Err(format!("{} got {:?}, not {expected:?}", call.request_id, reply.value))
}

/// What two hops of a healthy network may take: a caller with less is promised nothing.
const ENOUGH: Duration = Duration::from_millis(250);

/// Without a fault, every call works.
pub(crate) fn works(call: &CallRecord) -> Result<(), String> {
    match &call.reply {
        _ if call.request.deadline < ENOUGH => Ok(()),
        Some(reply) if reply.is_ok() => Ok(()),
        other => Err(format!("{} got {other:?}", call.request_id)),
    }
}

/// A call that was lost on the way, or cut off, is not what a drain may do: it refuses, or it answers.
pub(crate) fn not_lost(call: &CallRecord) -> Result<(), String> {
    match &call.reply {
        Some(reply) if reply.value == "the connection was lost" => {
            Err(format!("{} was lost", call.request_id))
        }
        _ => Ok(()),
    }
}

/// A status is one that the faults explain which have been in force so far: their aftermath may last.
/// `BROKEN` and `GAVE UP` are the client's own words for a connection that broke under it, and for its own
/// deadline.
#[derive(Debug, Default)]
pub(crate) struct StatusesAreExplained {
    seen: BTreeSet<String>,
}

impl Invariant for StatusesAreExplained {
    fn name(&self) -> &str {
        "a status is one that the faults explain"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.seen.extend(family(event).map(str::to_owned));
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(reply) = &call.reply else { return Ok(()) };
        let explained = match reply.status.as_str() {
            "OK" => true,
            "DEADLINE_EXCEEDED" | "GAVE UP" => self.is_troubled() || call.request.deadline < ENOUGH,
            "UNAVAILABLE" | "REFUSED" | "BROKEN" | "RESOURCE_EXHAUSTED" => self.is_troubled(),
            "INTERNAL" => self.seen.contains("panicking-handler"),
            _ => false,
        };
        if explained {
            return Ok(());
        }
        Err(format!("{} got {reply:?} after {:?}", call.request_id, self.seen))
    }
}

impl StatusesAreExplained {
    /// Whether there was a fault that a call can feel. A wrong wall clock is none.
    fn is_troubled(&self) -> bool {
        self.seen.iter().any(|family| !family.starts_with("clock"))
    }
}

/// The family of the fault that `event` tells of, if it does.
pub(crate) fn family(event: &Event) -> Option<&str> {
    field(event, "fault").filter(|_| event.kind == EventKind::Fault)?.split_whitespace().next()
}

/// A field of a log line.
pub(crate) fn field<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.field(name)
}

/// Faults that delay what a host hears, or the host itself: it may learn late that a call has ended.
const DELAYS: &[&str] =
    &["partition", "partition-one-way", "hold", "slow-link", "pause", "power-loss", "reset"];

/// No handler runs on when its call has ended, but for the time that word of it takes.
#[derive(Debug)]
pub(crate) struct HandlersEndWithTheirCalls {
    /// How long word may take over two hops of a healthy network.
    pub(crate) grace: Duration,
    /// When the call of each request ended.
    ended: BTreeMap<String, Duration>,
    /// Whether word may be late: there was a fault that delays it.
    is_delayed: bool,
}

impl HandlersEndWithTheirCalls {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, ended: BTreeMap::new(), is_delayed: false }
    }
}

impl Invariant for HandlersEndWithTheirCalls {
    fn name(&self) -> &str {
        "no handler runs on when its call has ended"
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.ended.insert(call.request_id.clone(), call.ended.unwrap_or_default());
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.is_delayed |= family(event).is_some_and(|family| DELAYS.contains(&family));
        if event.kind != EventKind::Log || ![BEGUN, ENDED].contains(&event.text.as_str()) {
            return Ok(());
        }
        match event.request_id.as_ref().and_then(|id| self.ended.get(id)) {
            Some(ended) if !self.is_delayed && event.at > *ended + self.grace => {
                let (id, late) = (event.request_id.as_deref().unwrap_or_default(), event.at - *ended);
                Err(format!(
                    "{} for {id} on {}, {} ms after its call",
                    event.text,
                    event.host,
                    late.as_millis()
                ))
            }
            _ => Ok(()),
        }
    }
}

/// A service takes on no more calls at once than it says.
#[derive(Debug)]
pub(crate) struct NoMoreThanAdmitted {
    most: usize,
    /// The handlers that run, by host.
    running: BTreeMap<Arc<str>, usize>,
}

impl NoMoreThanAdmitted {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, running: BTreeMap::new() }
    }
}

impl Invariant for NoMoreThanAdmitted {
    fn name(&self) -> &str {
        "a service takes on no more calls than it says"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let change: fn(usize) -> usize = match event.text.as_str() {
            _ if event.kind != EventKind::Log => return Ok(()),
            "node started" => |_| 0,
            ENDED => |running| running.saturating_sub(1),
            BEGUN => |running| running + 1,
            _ => return Ok(()),
        };
        let running = self.running.entry(event.host.clone()).or_default();
        *running = change(*running);
        if *running > self.most {
            return Err(format!("{} handlers at once on {}", running, event.host));
        }
        Ok(())
    }
}

/// A call is handled once at most on each host, and on no other host if it is said not to have been sent.
#[derive(Debug, Default)]
pub(crate) struct NotSentMeansNotHandled {
    /// The hosts where the handler of each request began.
    handled: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl Invariant for NotSentMeansNotHandled {
    fn name(&self) -> &str {
        "a call is handled once at most, and never if it was not sent"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(id) = event.request_id.as_ref().filter(|_| event.kind == EventKind::Log) else {
            return Ok(());
        };
        if event.text == BEGUN && !self.handled.entry(id.clone()).or_default().insert(event.host.clone()) {
            return Err(format!("{id} was handled twice on {}", event.host));
        }
        if event.text != "request failed" || field(event, "not_sent") != Some("true") {
            return Ok(());
        }
        match self.handled.get(id).and_then(|hosts| hosts.iter().next()) {
            Some(host) => Err(format!("{id} was handled on {host}, and is said not to have been sent")),
            None => Ok(()),
        }
    }
}
