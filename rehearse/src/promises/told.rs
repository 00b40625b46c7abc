//! What an edge logs of a call is what its caller asked and got, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Reply, Wants, What};

use super::ids::{access_path, access_took};
use super::names::ACCESS_LINES_ARE_TRUE;
use super::requests::ByRequest;
use crate::clients::{code_named, http_status_of};
use crate::load::Via;
use crate::setting::Setting;

/// So many segments' time may pass between a client's call and its beginning at the edge, where nothing goes wrong, and
/// between its end there and that at the client: a connection is made, and greeted.
const BESIDES: u32 = 8;

/// The status in the access line of a client's call is the one that the client got; the path, the method and the client are
/// its own, and the time is no longer than the call took, nor much shorter where nothing goes wrong. A request over REST has
/// one line, for nobody sends it again; calls over gRPC may come to the same host from elsewhere.
#[derive(Debug)]
pub(super) struct AccessLinesAreTrue {
    setting: Arc<Setting>,
    entries: ByRequest<Entry>,
    is_disturbed: bool,
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
    started: Duration,
    /// How long it took, by its access line.
    took: Option<Duration>,
    /// The status of its access line, if there was one, and whether there were more.
    line: Option<String>,
    has_more_lines: bool,
    reply: Option<Reply>,
}

impl AccessLinesAreTrue {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), entries: ByRequest::default(), is_disturbed: false, met: 0 }
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

    /// What its own access line says wrongly of the request itself, if it does.
    fn is_wrong(&self, event: &Event, setting: &Setting) -> Option<String> {
        if event.text("method") != Some(self.method) {
            return Some(format!("its caller used the method {}", self.method));
        }
        if !access_path(event).is_some_and(|path| is_like(self.path, path)) {
            return Some(format!("its caller asked for {}", self.path));
        }
        if event.text("peer").is_none_or(|peer| peer.parse::<SocketAddr>().is_err()) {
            return Some("its caller has an address, and a port".to_owned());
        }
        // What happens within one tick is told in any order.
        let since = event.at.saturating_sub(self.started);
        match access_took(event) {
            // The times of processes are stretched, and this one is not.
            Some(took) if took <= since + setting.tick || setting.is_of_processes() => None,
            _ => Some(format!("its caller asked {} ms ago", since.as_millis())),
        }
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

/// Whether `path` may be one of these, in which a segment `{field}` stands for any.
fn is_like(route: &str, path: &str) -> bool {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    loop {
        match (route.next(), path.next()) {
            (None, None) => return true,
            (Some(known), Some(_)) if known.starts_with('{') => {}
            (known, part) if known == part => {}
            _ => return false,
        }
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
        let kind = self.setting.kind(&call.request).filter(|kind| !kind.is_watched);
        let host = kind.and_then(|kind| self.setting.graph.entry(kind.service, call.request.id));
        if let Some((kind, host)) = kind.zip(host) {
            let (id, host) = (call.request_id.clone(), host.into());
            let via = kind.via;
            let (method, path) = match via {
                Via::Rest => (kind.routes[0].verb, kind.routes[0].path),
                Via::Grpc => ("POST", kind.path),
            };
            let (started, took, line, has_more_lines, reply) = (call.started, None, None, false, None);
            let entry = Entry { id, via, method, path, host, started, took, line, has_more_lines, reply };
            self.entries.insert(call.request.id, entry);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.is_disturbed |= matches!(event.what, What::FaultBegins { .. });
        let Some(entry) = event.request.and_then(|number| self.entries.get_mut(number)) else {
            return Ok(());
        };
        let Some(status) = entry.status_in(event) else { return Ok(()) };
        if let (Via::Rest, Some(first)) = (entry.via, &entry.line) {
            return Err(format!(
                "it has an access line with {first} already; expected one for each request: {event}"
            ));
        }
        if let Some(wrong) = entry.is_wrong(event, &self.setting) {
            return Err(format!("{wrong}: {event}"));
        }
        entry.took = access_took(event);
        entry.has_more_lines = entry.line.replace(status).is_some();
        self.met += u64::from(entry.judge()?);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(entry) = self.entries.get_mut(call.request.id) else { return Ok(()) };
        entry.reply.clone_from(&call.reply);
        self.met += u64::from(entry.judge()?);
        let (Some(took), Some(ended)) = (entry.took, call.ended) else { return Ok(()) };
        let least = (ended - call.started).saturating_sub(self.setting.hop() * BESIDES);
        let is_exact = !self.is_disturbed && !self.setting.is_of_processes();
        if !is_exact || entry.has_more_lines || took >= least {
            return Ok(());
        }
        let (id, host, took) = (&entry.id, &entry.host, took.as_millis());
        Err(format!(
            "{id}: its caller waited {} ms, nothing went wrong, and the access line on {host} says {took} ms",
            (ended - call.started).as_millis()
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
