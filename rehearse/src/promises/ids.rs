//! What must hold of request ids: replies and log lines know whose they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use sim::{CallRecord, Event, Invariant};

use super::names::{LINES_KNOW_THEIR_CALLERS, REPLIES_CARRY_IDS};
use crate::setting::Setting;

/// The request id that comes back is the caller's.
#[derive(Debug, Default)]
pub(super) struct RepliesCarryIds {
    met: u64,
}

impl Invariant for RepliesCarryIds {
    fn name(&self) -> &str {
        REPLIES_CARRY_IDS
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(reply) = &call.reply else { return Ok(()) };
        match &reply.request_id {
            Some(id) if *id != call.request_id => {
                Err(format!("the reply to {} carries {id}", call.request_id))
            }
            None if reply.is_ok() => Err(format!("the reply to {} carries no request id", call.request_id)),
            Some(_) => {
                self.met += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Every log line that belongs to a call carries the id of one that a client made, on whose way the host lies.
#[derive(Debug)]
pub(super) struct LinesKnowTheirCallers {
    setting: Arc<Setting>,
    /// The entry service of each call.
    calls: BTreeMap<u32, &'static str>,
    met: u64,
}

impl LinesKnowTheirCallers {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), calls: BTreeMap::new(), met: 0 }
    }
}

impl Invariant for LinesKnowTheirCallers {
    fn name(&self) -> &str {
        LINES_KNOW_THEIR_CALLERS
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(kind) = self.setting.kind(&call.request) {
            self.calls.insert(call.request.id, kind.service);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(line) = event.line() else { return Ok(()) };
        if event.request_id.is_none() {
            let needs_one = line.target == ACCESS || line.of_call.is_some();
            return if needs_one { Err(format!("without a request id: {event}")) } else { Ok(()) };
        }
        self.met += 1;
        let entry = event.request.and_then(|number| self.calls.get(&number));
        let entry = entry.ok_or_else(|| format!("nobody sent what this is for: {event}"))?;
        if event.host.is_empty() || self.setting.ways.get(entry).is_some_and(|way| way.contains(&*event.host))
        {
            return Ok(());
        }
        Err(format!("a call of {entry} does not come to this host: {event}"))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The target of the line that an edge logs of every call.
const ACCESS: &str = "access";

/// The path in the line that an edge logs of a call.
pub(super) fn access_path(event: &Event) -> Option<&str> {
    let line = event.line().filter(|line| line.target == ACCESS)?;
    Some(line.field("path").and_then(|path| path.as_str()).unwrap_or_default())
}
