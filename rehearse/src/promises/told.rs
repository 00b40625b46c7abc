//! What an edge logs of a call is what its caller asked and got, once.

use std::sync::Arc;

use sim::{CallRecord, Event, Invariant, Reply, Wants};

use super::ids::access_path;
use super::names::ACCESS_LINES_ARE_TRUE;
use super::requests::ByRequest;
use crate::clients::{code_named, http_status_of};
use crate::load::Via;
use crate::setting::Setting;

/// The status in the access line of a client's call is the one that the client got. A request over REST has one line, for
/// nobody sends it again; calls over gRPC may come to the same host from elsewhere.
#[derive(Debug)]
pub(super) struct AccessLinesAreTrue {
    setting: Arc<Setting>,
    entries: ByRequest<Entry>,
    met: u64,
}

/// A client's call at the edge where it enters.
#[derive(Debug)]
struct Entry {
    id: String,
    via: Via,
    /// HTTP's method.
    method: &'static str,
    path: &'static str,
    host: Arc<str>,
    /// The status of its access line, if there was one, and whether there were more.
    line: Option<String>,
    has_more_lines: bool,
    reply: Option<Reply>,
}

impl AccessLinesAreTrue {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), entries: ByRequest::default(), met: 0 }
    }
}

impl Entry {
    /// The status of its own access line, if `event` is that: a REST edge logs HTTP's number, a gRPC edge a name.
    fn status_in(&self, event: &Event) -> Option<String> {
        let path = access_path(event)?;
        let status = event.field("status")?;
        let is_own = match self.via {
            Via::Rest => status.as_i64().is_some(),
            Via::Grpc => status.as_str().is_some() && path == self.path,
        };
        (is_own && *event.host == *self.host).then(|| status.to_string())
    }

    /// Whether `line` says what the client got; `None` if the client has only its own word for what happened.
    fn is_right(&self, line: &str) -> Option<bool> {
        let reply = self.reply.as_ref()?;
        let code = code_named(&reply.status)?;
        Some(match self.via {
            Via::Grpc => line == reply.status,
            Via::Rest if reply.is_ok() => line == "200",
            // What is larger than a body may be is so by HTTP's own words.
            Via::Rest => line == "413" || line == http_status_of(code).to_string(),
        })
    }

    fn judge(&self) -> Result<bool, String> {
        let Some(line) = &self.line else { return Ok(false) };
        let Some(is_right) = self.is_right(line) else { return Ok(false) };
        if self.has_more_lines || is_right {
            return Ok(true);
        }
        let Self { id, host, reply, .. } = self;
        let got = reply.as_ref().map_or("nothing", |reply| &reply.status);
        Err(format!("{id}: its caller got {got}, and the access line on {host} says {line}"))
    }
}

impl Invariant for AccessLinesAreTrue {
    fn name(&self) -> &str {
        ACCESS_LINES_ARE_TRUE
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        // A stream that its caller leaves ends there, and here by the caller's own word.
        let kind = self.setting.kind(&call.request).filter(|kind| !kind.is_streaming);
        let host = kind.and_then(|kind| self.setting.graph.entry(kind.service, call.request.id));
        if let Some((kind, host)) = kind.zip(host) {
            let (id, host) = (call.request_id.clone(), host.into());
            let (via, path) = (kind.via, kind.path);
            let method = if via == Via::Rest { kind.routes[0].verb } else { "POST" };
            let entry = Entry { id, via, method, path, host, line: None, has_more_lines: false, reply: None };
            self.entries.insert(call.request.id, entry);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(entry) = event.request.and_then(|number| self.entries.get_mut(number)) else {
            return Ok(());
        };
        let Some(status) = entry.status_in(event) else { return Ok(()) };
        if let (Via::Rest, Some(first)) = (entry.via, &entry.line) {
            return Err(format!(
                "it has an access line with {first} already; expected one for each request: {event}"
            ));
        }
        if event.field("method").as_ref().and_then(|method| method.as_str()) != Some(entry.method) {
            return Err(format!("its caller used the method {}: {event}", entry.method));
        }
        entry.has_more_lines = entry.line.replace(status).is_some();
        self.met += u64::from(entry.judge()?);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(entry) = self.entries.get_mut(call.request.id) else { return Ok(()) };
        entry.reply.clone_from(&call.reply);
        self.met += u64::from(entry.judge()?);
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
