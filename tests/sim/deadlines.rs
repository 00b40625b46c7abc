//! What must hold of deadlines: they bound, and they only ever shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sim::{CallRecord, Event, EventKind, Invariant};

use crate::checks::{family, field};
use crate::hosts::{BEGUN, DEADLINE};

/// Each hop gets what is left of its caller's deadline, and never more.
#[derive(Debug, Default)]
pub(crate) struct DeadlinesShrink {
    /// What was left when the last hop of each request began, in milliseconds.
    left: BTreeMap<String, u64>,
}

impl Invariant for DeadlinesShrink {
    fn name(&self) -> &str {
        "each hop gets what is left of its caller's deadline"
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        // A REST client says nothing of its deadline, so the node's own is in force.
        let given = if call.request.client == "grpc" { call.request.deadline } else { DEADLINE };
        self.left.insert(call.request_id.clone(), u64::try_from(given.as_millis()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.kind != EventKind::Log || event.text != BEGUN {
            return Ok(());
        }
        let (Some(id), Some(left)) = (&event.request_id, field(event, "left_ms")) else {
            return Err("a handler without a request id or a deadline".to_owned());
        };
        let left = left.parse().map_err(|error| format!("left_ms: {error}"))?;
        match self.left.insert(id.clone(), left) {
            Some(before) if left > before => {
                Err(format!("{id} has {left} ms on {}, and had {before} ms before", event.host))
            }
            _ => Ok(()),
        }
    }
}

/// Every call ends at its edge by the deadline in force there, whatever it waits for.
#[derive(Debug)]
pub(crate) struct EdgesKeepDeadlines {
    pub(crate) grace: Duration,
    /// The deadline that each request came with.
    given: BTreeMap<String, Duration>,
    /// Hosts that did nothing for a while, and may be late with what they owe.
    paused: BTreeSet<String>,
}

impl EdgesKeepDeadlines {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, given: BTreeMap::new(), paused: BTreeSet::new() }
    }
}

impl Invariant for EdgesKeepDeadlines {
    fn name(&self) -> &str {
        "every call ends at its edge by its deadline"
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let given = if call.request.client == "grpc" { call.request.deadline } else { DEADLINE };
        self.given.insert(call.request_id.clone(), given);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if family(event) == Some("pause") {
            let host = field(event, "fault").and_then(|fault| fault.split_whitespace().nth(1));
            self.paused.extend(host.map(str::to_owned));
        }
        let is_access = event.kind == EventKind::Log && field(event, "target") == Some("access");
        let Some(id) = event.request_id.as_ref().filter(|_| is_access) else { return Ok(()) };
        let took: f64 = field(event, "duration_ms").and_then(|took| took.parse().ok()).unwrap_or_default();
        let given = self.given.get(id).copied().unwrap_or(DEADLINE);
        let late = took > (given + self.grace).as_secs_f64() * 1e3;
        // A line without a host is the last word of one that is being taken down: it says when it died.
        if late && !event.host.is_empty() && !self.paused.contains(&*event.host) {
            return Err(format!("{id} took {took} ms on {}, and had {} ms", event.host, given.as_millis()));
        }
        Ok(())
    }
}
