//! What must hold in every rehearsal, and the checks that know no service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call::CallRecord;
use crate::trace::{Event, EventKind};

/// A promise that is checked while the rehearsal runs.
///
/// Each method is told one thing, when it happens, and answers `Err` with what it saw if that breaks the promise;
/// the rehearsal then ends. A check must decide from what it is told alone, and the same way each time: no
/// clock, no chance, no logging. A new one is made for each rehearsal, so it may keep state.
pub trait Invariant: fmt::Debug {
    /// The promise in a few words, as it is printed when broken.
    fn name(&self) -> &str;

    /// Something happened: a log line, a fault, a phase. Calls are told on their own, packets and bytes not at all.
    ///
    /// # Errors
    /// When the promise is broken.
    fn event(&mut self, _event: &Event) -> Result<(), String> {
        Ok(())
    }

    /// A client makes a call.
    ///
    /// # Errors
    /// When the promise is broken.
    fn call_started(&mut self, _call: &CallRecord) -> Result<(), String> {
        Ok(())
    }

    /// At `now`, at the end of a tick, a client still waits for this call.
    ///
    /// # Errors
    /// When the promise is broken.
    fn call_waiting(&mut self, _call: &CallRecord, _now: Duration) -> Result<(), String> {
        Ok(())
    }

    /// A client has its reply.
    ///
    /// # Errors
    /// When the promise is broken.
    fn call_ended(&mut self, _call: &CallRecord) -> Result<(), String> {
        Ok(())
    }

    /// The rehearsal is over; these are all its calls.
    ///
    /// # Errors
    /// When the promise is broken.
    fn finished(&mut self, _calls: &[CallRecord]) -> Result<(), String> {
        Ok(())
    }
}

/// Every call ends by its deadline and `grace`, whatever happens.
#[derive(Debug)]
pub struct EndsByDeadline {
    /// What is allowed on top: one tick, and for a client that keeps no time itself the way back.
    pub grace: Duration,
}

impl Invariant for EndsByDeadline {
    fn name(&self) -> &str {
        "every call ends by its deadline"
    }

    fn call_waiting(&mut self, call: &CallRecord, now: Duration) -> Result<(), String> {
        self.judge(call, now, "still waits")
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.judge(call, call.ended.unwrap_or_default(), "ended")
    }
}

impl EndsByDeadline {
    fn judge(&self, call: &CallRecord, now: Duration, what: &str) -> Result<(), String> {
        if now <= call.due() + self.grace {
            return Ok(());
        }
        let (id, late) = (&call.request_id, now - call.due());
        Err(format!("{id} {what} {} ms after its deadline", late.as_millis()))
    }
}

/// The request id that comes back is the caller's.
#[derive(Debug)]
pub struct ReplyCarriesId;

impl Invariant for ReplyCarriesId {
    fn name(&self) -> &str {
        "every reply carries its caller's request id"
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        match call.reply.as_ref().and_then(|reply| reply.request_id.as_deref()) {
            Some(id) if id != call.request_id => {
                Err(format!("the reply to {} carries {id}", call.request_id))
            }
            None if call.reply.as_ref().is_some_and(crate::call::Reply::is_ok) => {
                Err(format!("the reply to {} carries no request id", call.request_id))
            }
            _ => Ok(()),
        }
    }
}

/// Every log line that names a request names one that a client made.
#[derive(Debug, Default)]
pub struct LogsKnowTheirCaller {
    known: BTreeSet<u32>,
}

impl Invariant for LogsKnowTheirCaller {
    fn name(&self) -> &str {
        "every log line carries its caller's request id"
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.known.insert(call.request.id);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let is_known = || event.request.is_some_and(|request| self.known.contains(&request));
        match &event.request_id {
            Some(id) if event.kind == EventKind::Log && !is_known() => {
                Err(format!("{} logged {:?} for {id}, which nobody sent", event.host, event.text))
            }
            _ => Ok(()),
        }
    }
}

/// Once a call has ended for its caller, no log line with this text appears for it, but for `grace`.
#[derive(Debug)]
pub struct NothingAfterTheEnd {
    /// The log line by which a service says that it works on a call.
    pub log_line: &'static str,
    /// How long a cancellation may take: its way over the network, and one scheduling turn.
    pub grace: Duration,
    ended: BTreeMap<String, Duration>,
}

impl NothingAfterTheEnd {
    /// Watches for `log_line`.
    #[must_use]
    pub fn new(log_line: &'static str, grace: Duration) -> Self {
        Self { log_line, grace, ended: BTreeMap::new() }
    }
}

impl Invariant for NothingAfterTheEnd {
    fn name(&self) -> &str {
        "no handler runs after its call has ended"
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.ended.insert(call.request_id.clone(), call.ended.unwrap_or_default());
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.kind != EventKind::Log || event.text != self.log_line {
            return Ok(());
        }
        let Some(id) = &event.request_id else {
            return Ok(());
        };
        match self.ended.get(id) {
            Some(ended) if event.at > *ended + self.grace => {
                let late = (event.at - *ended).as_millis();
                Err(format!("{} worked on {id} {late} ms after it had ended", event.host))
            }
            _ => Ok(()),
        }
    }
}

/// A log line with this text appears at most so often for one request on one host.
#[derive(Debug)]
pub struct AtMost {
    /// The promise in words.
    pub promise: &'static str,
    /// The log line that is counted.
    pub log_line: &'static str,
    /// How often it may appear.
    pub times: u32,
    seen: BTreeMap<(Arc<str>, String), u32>,
}

impl AtMost {
    /// Counts `log_line`, for the promise in words.
    #[must_use]
    pub fn new(promise: &'static str, log_line: &'static str, times: u32) -> Self {
        Self { promise, log_line, times, seen: BTreeMap::new() }
    }
}

impl Invariant for AtMost {
    fn name(&self) -> &str {
        self.promise
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.kind != EventKind::Log || event.text != self.log_line {
            return Ok(());
        }
        let Some(id) = &event.request_id else {
            return Ok(());
        };
        let count = self.seen.entry((event.host.clone(), id.clone())).or_default();
        *count += 1;
        if *count <= self.times {
            return Ok(());
        }
        Err(format!("{:?} for {id} on {} for the {count}th time", self.log_line, event.host))
    }
}

/// A call whose caller was told that it was never sent is never handled: not before, and not later.
#[derive(Debug)]
pub struct NeverHandled {
    /// The log line by which a service says that it works on a call.
    pub log_line: &'static str,
    /// Whether the caller was told so.
    pub was_not_sent: fn(&CallRecord) -> bool,
    handled: BTreeSet<String>,
    not_sent: BTreeSet<String>,
}

impl NeverHandled {
    /// Watches for `log_line` for the calls that were not sent.
    #[must_use]
    pub fn new(log_line: &'static str, was_not_sent: fn(&CallRecord) -> bool) -> Self {
        let (handled, not_sent) = (BTreeSet::new(), BTreeSet::new());
        Self { log_line, was_not_sent, handled, not_sent }
    }
}

impl Invariant for NeverHandled {
    fn name(&self) -> &str {
        "a call that was not sent is never handled"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let is_handling = event.kind == EventKind::Log && event.text == self.log_line;
        let Some(id) = event.request_id.as_ref().filter(|_| is_handling) else {
            return Ok(());
        };
        if self.not_sent.contains(id) {
            return Err(format!("{} handles {id}, of which its caller was told it was not sent", event.host));
        }
        self.handled.insert(id.clone());
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        if !(self.was_not_sent)(call) {
            return Ok(());
        }
        if self.handled.contains(&call.request_id) {
            return Err(format!("{} was handled, but its caller was told it was not sent", call.request_id));
        }
        self.not_sent.insert(call.request_id.clone());
        Ok(())
    }
}

/// A promise about single calls, given as a function.
pub(crate) struct CallCheck {
    pub(crate) promise: String,
    pub(crate) check: fn(&CallRecord) -> Result<(), String>,
}

impl fmt::Debug for CallCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallCheck").field(&self.promise).finish()
    }
}

impl Invariant for CallCheck {
    fn name(&self) -> &str {
        &self.promise
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        (self.check)(call)
    }
}
