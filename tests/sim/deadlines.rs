//! What must hold of deadlines: they bound, and they only ever shrink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Value, What};

use crate::faults::{Fault, Faults, TICK};
use crate::handlers::{number, says};
use crate::hosts::{BEGUN, DEADLINE, ENDED};

/// Each hop gets what is left of its caller's deadline, and never more.
#[derive(Debug, Default)]
pub(crate) struct DeadlinesShrink {
    /// What was left when the last hop of each request began, in milliseconds.
    left: BTreeMap<u32, u64>,
    met: u64,
}

impl Invariant for DeadlinesShrink {
    fn name(&self) -> &str {
        "each hop gets what is left of its caller's deadline"
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        // A REST client says nothing of its deadline, so the node's own is in force.
        let given = if call.request.client == "grpc" { call.request.deadline } else { DEADLINE };
        self.left.insert(call.request.id, u64::try_from(given.as_millis()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if !says(event, BEGUN) {
            return Ok(());
        }
        self.met += 1;
        let (Some(number), Some(left)) = (number(event), left_ms(event)) else {
            return Err("a handler without a request id or a deadline".to_owned());
        };
        match self.left.insert(number, left) {
            Some(before) if left > before => {
                Err(format!("sim-{number:06} has {left} ms on {}, and had {before} ms before", event.host))
            }
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// What is left of its deadline when a handler begins.
fn left_ms(event: &Event) -> Option<u64> {
    event.field("left_ms")?.as_u64()
}

/// What begins with a handler ends by its deadline, whatever else happens.
#[derive(Debug)]
pub(crate) struct EndsInTime {
    promise: &'static str,
    is_end: fn(&Event) -> bool,
    open: Vec<Open>,
    /// When the first of `open` is late, or one that has ended since would have been.
    earliest: Duration,
    faults: Faults,
    met: u64,
}

/// A handler that has begun.
#[derive(Debug)]
struct Open {
    host: Arc<str>,
    number: u32,
    due: Duration,
}

impl EndsInTime {
    /// No handler runs on after its deadline, but for a turn.
    pub(crate) fn handlers() -> Self {
        Self::new("no handler runs on after its deadline", |event| says(event, ENDED))
    }

    /// Every call that has begun has its access line by its deadline.
    pub(crate) fn edges() -> Self {
        Self::new("every call ends at its edge by its deadline", is_access)
    }

    fn new(promise: &'static str, is_end: fn(&Event) -> bool) -> Self {
        let (open, faults) = (Vec::new(), Faults::default());
        Self { promise, is_end, open, earliest: Duration::MAX, faults, met: 0 }
    }
}

/// A timer is exact to the millisecond, and what it wakes runs in the same one; `left_ms` has no fractions.
const TURN: Duration = Duration::from_millis(2);

impl Invariant for EndsInTime {
    fn name(&self) -> &str {
        self.promise
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if event.at > self.earliest {
            self.judge(event)?;
        }
        if matches!(event.what, What::FaultBegins { .. } | What::FaultEnds { .. }) {
            self.forget_the_dead(event.at);
        }
        let Some(number) = number(event) else { return Ok(()) };
        if says(event, BEGUN) {
            self.met += 1;
            let left = Duration::from_millis(left_ms(event).unwrap_or_default());
            let due = event.at + left + TURN;
            self.open.push(Open { host: Arc::clone(&event.host), number, due });
            self.earliest = self.earliest.min(due);
        } else if (self.is_end)(event) {
            // That may have been the first to be late: the next one that would be is looked for when its time comes.
            self.open.retain(|open| open.number != number || open.host != event.host);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl EndsInTime {
    fn look_ahead(&mut self) {
        self.earliest = self.open.iter().map(|open| open.due).min().unwrap_or(Duration::MAX);
    }

    /// What ran on a host that was taken down is gone: when the fault began, or, of a drain, when it ended.
    fn forget_the_dead(&mut self, now: Duration) {
        let takes_down = |fault: &Fault| match fault.family.as_str() {
            "kill" | "power-loss" => fault.from == now || fault.until == Some(now),
            "drain" => fault.until == Some(now),
            _ => false,
        };
        self.open.retain(|open| !self.faults.on_host(&open.host).any(takes_down));
        self.look_ahead();
    }

    /// Whether all that is open may still be so. What other hosts do in the same tick may be told before.
    fn judge(&mut self, event: &Event) -> Result<(), String> {
        for open in &mut self.open {
            let pauses = self.faults.on_host(&open.host).filter(|fault| fault.family == "pause");
            let awake = pauses.map(|pause| pause.until.unwrap_or(event.at)).max().unwrap_or_default();
            open.due = open.due.max(awake + TURN);
            let grace = if *event.host == *open.host { Duration::ZERO } else { TICK };
            if event.at > open.due + grace {
                let late = (event.at + TURN - open.due).as_millis();
                return Err(format!("sim-{:06} on {}, {late} ms after its deadline", open.number, open.host));
            }
        }
        self.look_ahead();
        Ok(())
    }
}

fn is_access(event: &Event) -> bool {
    event.line().is_some_and(|line| line.target == "access")
}

/// Every call ends at its edge by the deadline in force there, whatever it waits for.
#[derive(Debug, Default)]
pub(crate) struct EdgesKeepDeadlines {
    /// The deadline that each request came with.
    given: BTreeMap<u32, Duration>,
    faults: Faults,
    met: u64,
}

impl Invariant for EdgesKeepDeadlines {
    fn name(&self) -> &str {
        "every call ends at its edge by its deadline"
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let given = if call.request.client == "grpc" { call.request.deadline } else { DEADLINE };
        self.given.insert(call.request.id, given);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        let Some(number) = number(event).filter(|_| is_access(event)) else { return Ok(()) };
        let took = event.field("duration_ms").and_then(Value::as_f64);
        let Some(took) = took else { return Err("an access line without its duration".to_owned()) };
        let took = Duration::from_secs_f64(took / 1e3);
        self.met += 1;
        let given = self.given.get(&number).copied().unwrap_or(DEADLINE);
        // A line without a host is the last word of one that is being taken down: it says when it died.
        if took <= given + TURN || event.host.is_empty() || self.has_paused(event) {
            return Ok(());
        }
        let (took, given) = (took.as_millis(), given.as_millis());
        Err(format!("sim-{number:06} took {took} ms on {}, and had {given} ms", event.host))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl EdgesKeepDeadlines {
    /// Whether the host did nothing for a while, up to this very moment.
    fn has_paused(&self, event: &Event) -> bool {
        let mut pauses = self.faults.on_host(&event.host).filter(|fault| fault.family == "pause");
        pauses.any(|pause| pause.is_felt((event.at, event.at), TURN))
    }
}
