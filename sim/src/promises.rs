//! The promises that know no service: deadlines, request ids, and any that a function can tell of a single call.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call::CallRecord;
use crate::invariant::{Invariant, Wants};
use crate::panics;
use crate::trace::event::Event;

/// Every call ends by its deadline and `grace`, whatever happens.
#[derive(Debug)]
pub struct EndsByDeadline {
    grace: Duration,
    met: u64,
}

impl Invariant for EndsByDeadline {
    fn name(&self) -> &str {
        "every call ends by its deadline"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().waiting()
    }

    fn call_waiting(&mut self, call: &CallRecord, now: Duration) -> Result<(), String> {
        self.judge(call, now, "still waits")
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.met += 1;
        self.judge(call, call.ended.unwrap_or_default(), "ended")
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl EndsByDeadline {
    /// With `grace` allowed on top: one tick, and for a client that keeps no time itself the way back.
    #[must_use]
    pub fn with_grace(grace: Duration) -> Self {
        Self { grace, met: 0 }
    }

    fn judge(&self, call: &CallRecord, now: Duration, what: &str) -> Result<(), String> {
        if now <= call.due() + self.grace {
            return Ok(());
        }
        let (id, late) = (&call.request_id, now - call.due());
        Err(format!("{id} {what} {} ms after its deadline", late.as_millis()))
    }
}

/// The request id that comes back is the caller's.
#[derive(Debug, Default)]
pub struct ReplyCarriesId {
    met: u64,
}

impl Invariant for ReplyCarriesId {
    fn name(&self) -> &str {
        "every reply carries its caller's request id"
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(reply) = &call.reply else { return Ok(()) };
        match reply.request_id.as_deref() {
            // A reply that the client itself made carries none.
            None if !reply.is_ok() => return Ok(()),
            None => return Err(format!("the reply to {} carries no request id", call.request_id)),
            Some(id) if id != call.request_id => {
                return Err(format!("the reply to {} carries {id}", call.request_id));
            }
            Some(_) => self.met += 1,
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Every log line that is said while a call is handled carries the id of that call, and every id is one that a client
/// sent. Which call is handled is known where the scenario says so: `Scenario::request_id_of_line`.
#[derive(Debug, Default)]
pub struct LogsKnowTheirCaller {
    known: BTreeSet<u32>,
    met: u64,
}

impl Invariant for LogsKnowTheirCaller {
    fn name(&self) -> &str {
        "every log line carries its caller's request id"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.known.insert(call.request.id);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(line) = event.line() else { return Ok(()) };
        let (host, message) = (&event.host, &line.message);
        let (id, of_call) = (event.request_id.as_deref(), line.of_call.as_deref());
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return match of_call {
                Some(_) => Err(format!("{host} logged {message:?} without an id, while it handled a call")),
                None => Ok(()),
            };
        };
        self.met += 1;
        if !event.request.is_some_and(|request| self.known.contains(&request)) {
            return Err(format!("{host} logged {message:?} for {id}, which nobody sent"));
        }
        match of_call {
            Some(of_call) if of_call != id => {
                Err(format!("{host} logged {message:?} for {id}, while it handled {of_call:?}"))
            }
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A promise about single calls, given as a function.
pub(crate) struct CallCheck {
    pub(crate) promise: String,
    pub(crate) check: SharedCallCheck,
    pub(crate) met: u64,
}

/// Judges one call that has ended.
pub(crate) type SharedCallCheck = Arc<dyn Fn(&CallRecord) -> Result<(), String> + Send + Sync>;

impl fmt::Debug for CallCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallCheck").field(&self.promise).finish()
    }
}

impl Invariant for CallCheck {
    fn name(&self) -> &str {
        &self.promise
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.met += 1;
        panics::caught(|| (self.check)(call))
            .unwrap_or_else(|panic| Err(format!("its check panicked: {panic}")))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
