//! The edge where a call enters logs it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use sim::{CallRecord, Event, Invariant, Wants};

use crate::load::Via;
use crate::promises::ids::access_path;
use crate::setting::Setting;

/// A client's call has one access line, and not another one. That it has one is judged with the ids.
#[derive(Debug)]
pub(super) struct OneLineForEachCall {
    setting: Arc<Setting>,
    entries: BTreeMap<u32, Entry>,
    met: u64,
}

/// A client's call at the edge where it enters.
#[derive(Debug)]
struct Entry {
    host: String,
    via: Via,
    path: &'static str,
    lines: u32,
}

impl OneLineForEachCall {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), entries: BTreeMap::new(), met: 0 }
    }
}

impl Invariant for OneLineForEachCall {
    fn name(&self) -> &str {
        "every call that reaches an edge has one access line there"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(kind) = self.setting.kind(&call.request) else { return Ok(()) };
        let host = self.setting.graph.entry(kind.service, call.request.id);
        // What other services call over gRPC, too, may come to the same edge once more.
        let is_called = self.setting.graph.is_called(kind.service) && kind.via == Via::Grpc;
        if let Some(host) = host.filter(|_| !is_called) {
            let entry = Entry { host: host.to_owned(), via: kind.via, path: kind.path, lines: 0 };
            self.entries.insert(call.request.id, entry);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let entry = event.request.and_then(|request| self.entries.get_mut(&request));
        let Some((entry, path)) = entry.zip(access_path(event)) else { return Ok(()) };
        let is_own = match entry.via {
            Via::Rest => event.number("status").is_some(),
            Via::Grpc => path == entry.path,
        };
        if *event.host != *entry.host || !is_own {
            return Ok(());
        }
        self.met += 1;
        entry.lines += 1;
        if entry.lines == 1 { Ok(()) } else { Err(format!("it has another one already: {event}")) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
