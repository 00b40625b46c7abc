//! What must hold in every rehearsal, and the checks that know no service.

use std::collections::BTreeSet;
use std::fmt;
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
