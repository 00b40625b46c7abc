//! What must hold in every rehearsal, and the checks that know no service.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call::CallRecord;
use crate::trace::event::Event;

/// A promise that is checked while the rehearsal runs.
///
/// Each method is told one thing, when it happens, and answers `Err` with what it saw if that breaks the promise;
/// the rehearsal then ends. A check must decide from what it is told alone, and the same way each time: no
/// clock, no chance, no logging. A new one is made for each rehearsal, so it may keep state.
pub trait Invariant: fmt::Debug {
    /// The promise in a few words, as it is printed when broken.
    fn name(&self) -> &str;

    /// Something happened: a log line, a fact, a fault, a phase. Calls are told on their own, packets, bytes and
    /// disks not at all.
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

    /// How often there was something to judge. A check that met nothing in a whole suite run proves nothing, and is
    /// reported.
    fn met(&self) -> u64;
}

/// A promise that need not hold at every moment, but must hold in the end: once all faults have healed, every sort of
/// call works again and nothing is in flight, it must come true within a stated time.
///
/// As with an [`Invariant`], what it says follows from what it was told, and from nothing else.
pub trait Eventual: fmt::Debug {
    /// Something happened: a log line, a fact, a fault, a phase.
    fn event(&mut self, _event: &Event) {}

    /// A client has its reply.
    fn call_ended(&mut self, _call: &CallRecord) {}

    /// Whether it holds as things are.
    ///
    /// # Errors
    /// When it does not hold yet; the error says what is missing.
    fn holds(&self) -> Result<(), String>;

    /// How many things it was told of that had to come true in the end.
    fn met(&self) -> u64;
}

/// An eventual promise, its name and its time.
#[derive(Debug)]
pub(crate) struct EventualPromise {
    pub(crate) promise: String,
    pub(crate) within: Duration,
    pub(crate) check: Box<dyn Eventual>,
}

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

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        self.met += 1;
        (self.check)(call)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
