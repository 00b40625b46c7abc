//! What must hold of request ids: replies and log lines know whose they are.
//!
//! A call goes under the id that its client sent. Where it sent none, or one that is not legal, the node that it came to
//! makes one, and what is done for the call goes under that: which call an id was made for follows from where it was
//! first seen, and is certain when a reply carries it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallRecord, Event, Family, Invariant, Request, Wants, What};
use transport::Method as _;
use transport::health::Watch;

use super::names::{LINES_KNOW_THEIR_CALLERS, REPLIES_CARRY_IDS};
use super::requests::ByRequest;
use crate::clients::{asked, code_named, visited};
use crate::ids::{is_legal, is_made_by_node};
use crate::setting::Setting;

/// The request id that comes back is the caller's; where that sent none, or one that is not legal, a fresh one.
#[derive(Debug, Default)]
pub(super) struct RepliesCarryIds {
    /// The ids that were made for calls, as far as replies carried them.
    made: BTreeSet<String>,
    met: u64,
}

impl RepliesCarryIds {
    fn judge(&mut self, call: &CallRecord, carried: &str) -> Result<(), String> {
        let name = &call.request_id;
        let sent = call.request.id_sent();
        if !is_made_by_node(&call.request) {
            let is_same = sent.as_deref() == Some(carried);
            let sent = sent.unwrap_or_default();
            return if is_same {
                Ok(())
            } else {
                Err(format!("the reply to {name}, which sent {sent:?}, carries {carried:?}"))
            };
        }
        if !is_legal(carried) {
            return Err(format!(
                "{name} sent {sent:?}, and its reply carries {carried:?}, which is no legal id"
            ));
        }
        if !self.made.insert(carried.to_owned()) {
            return Err(format!(
                "{name} sent {sent:?}, and its reply carries {carried:?}, as another one did"
            ));
        }
        Ok(())
    }
}

impl Invariant for RepliesCarryIds {
    fn name(&self) -> &str {
        REPLIES_CARRY_IDS
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(reply) = &call.reply else { return Ok(()) };
        if let Some(carried) = &reply.request_id {
            self.met += 1;
            return self.judge(call, carried);
        }
        // What a client says of a call for itself carries none.
        match code_named(&reply.status) {
            Some(_) => Err(format!("the reply to {} carries no request id", call.request_id)),
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Every log line and every fact that belongs to a call carries its id, on a host that lies on its way.
#[derive(Debug)]
pub(super) struct LinesKnowTheirCallers {
    setting: Arc<Setting>,
    calls: ByRequest<Caller>,
    /// Ids that nodes made, and the calls that each may have been made for.
    made: BTreeMap<String, Vec<u32>>,
    /// When each host was taken down.
    deaths: Vec<(String, Duration)>,
    met: u64,
}

/// What is known of a client's call.
#[derive(Debug)]
struct Caller {
    entry: Entry,
    /// The id that it sent, if it is one that a node takes over.
    id: Option<String>,
    /// Whether it is a stranger, who may ask several times: each has an id of its own.
    is_stranger: bool,
    /// Whether the host that it came to has logged its access line.
    has_line: bool,
}

/// Where a client's call came in.
#[derive(Debug)]
struct Entry {
    host: String,
    /// The service that it called, or may have called; none if it asked the host itself.
    service: Option<&'static str>,
}

impl Entry {
    fn of(setting: &Setting, request: &Request) -> Option<Self> {
        if let Some((_, host)) = asked(request) {
            return Some(Self { host: host.to_owned(), service: None });
        }
        if let Some((host, title)) = visited(request) {
            return Some(Self { host: host.to_owned(), service: setting.stranger(title)?.service });
        }
        let service = setting.kind(request)?.service;
        let host = setting.graph.entry(service, request.id)?.to_owned();
        Some(Self { host, service: Some(service) })
    }

    fn is(&self, host: &str) -> bool {
        self.host == host
    }

    fn has_on_way(&self, setting: &Setting, host: &str) -> bool {
        let way = || setting.ways.get(self.service?);
        self.is(host) || way().is_some_and(|way| way.contains(host))
    }
}

impl LinesKnowTheirCallers {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (calls, made, deaths) = (ByRequest::default(), BTreeMap::new(), Vec::new());
        Self { setting: Arc::clone(setting), calls, made, deaths, met: 0 }
    }

    /// A process writes its lines a moment later, and one that is taken down writes nothing any more.
    fn note_death(&mut self, event: &Event) {
        let fault = match &event.what {
            What::FaultBegins { fault, .. } if fault.what.family() != Family::Drain => fault,
            What::FaultEnds { fault, .. } if fault.what.family() == Family::Drain => fault,
            _ => return,
        };
        if self.setting.is_of_processes() && fault.what.family().takes_down() {
            self.deaths.push((fault.what.hosts().0.to_owned(), event.at));
        }
    }

    /// Whether the line of a call was lost with the process of the host that it came to.
    fn is_line_lost(&self, caller: &Caller, ended: Duration) -> bool {
        let span = ended.saturating_sub(self.setting.held_up)..=ended + self.setting.held_up;
        self.deaths.iter().any(|(host, at)| caller.entry.is(host) && span.contains(at))
    }

    /// Judges what is told under the id that a client sent.
    fn judge_sent(&mut self, event: &Event, number: u32, id: &str) -> Result<(), String> {
        let call = self.calls.get_mut(number).ok_or_else(|| format!("no client sent this id: {event}"))?;
        if call.id.as_deref() != Some(id) {
            return Err(match &call.id {
                Some(sent) => format!("no client sent this id, but one sent {sent:?}: {event}"),
                None => {
                    format!("a client sent no id, or one that is not legal, and it was not replaced: {event}")
                }
            });
        }
        call.has_line |= !call.has_line && call.entry.is(&event.host) && access_path(event).is_some();
        if is_on_way(&self.setting, call, event) {
            return Ok(());
        }
        Err(format!("the call whose id this carries does not come to this host: {event}"))
    }

    /// Judges what is told under an id that no client sent.
    fn judge_made(&mut self, event: &Event, id: &str) -> Result<(), String> {
        if !self.made.contains_key(id) {
            let calls = self.new_here(event);
            if calls.is_empty() || !is_legal(id) {
                return Err(format!(
                    "no client sent this id, and no call has come to this host for which a node \
                     makes one: {event}"
                ));
            }
            self.made.insert(id.to_owned(), calls);
        }
        let calls = self.made.get(id).into_iter().flatten().filter_map(|number| self.calls.get(*number));
        let mut on_way = calls.filter(|call| is_on_way(&self.setting, call, event));
        if on_way.next().is_some() {
            return Ok(());
        }
        Err(format!("no call that this id can be made for comes to this host: {event}"))
    }

    /// The calls without a legal id that come to the host of `event`, and for which no id was seen yet, or not the only one.
    fn new_here(&self, event: &Event) -> Vec<u32> {
        // A process may have nothing to say of a call before the next one on its way has.
        let is_here = |call: &Caller| match self.setting.is_of_processes() {
            true => is_on_way(&self.setting, call, event),
            false => event.host.is_empty() || call.entry.is(&event.host),
        };
        let nameless = self.calls.iter().filter(|(_, call)| call.id.is_none() && is_here(call));
        let is_known = |number: u32| self.made.values().any(|calls| *calls == [number]);
        let new = nameless.filter(|(number, call)| call.is_stranger || !is_known(*number));
        new.map(|(number, _)| number).collect()
    }

    /// The reply to a call carries the id that was made for it: no other one was.
    fn end_made(&mut self, call: &CallRecord, id: &str) -> Result<(), String> {
        let number = call.request.id;
        if !self.made.get(id).is_some_and(|calls| calls.contains(&number)) {
            let name = &call.request_id;
            return Err(format!("the reply to {name} carries {id}, and no line of its host does"));
        }
        for (other, calls) in &mut self.made {
            match other == id {
                true => *calls = vec![number],
                false => calls.retain(|other| *other != number),
            }
            if calls.is_empty() {
                return Err(format!(
                    "{} goes under {id}, so nobody sent what went under {other}",
                    call.request_id
                ));
            }
        }
        Ok(())
    }
}

fn is_on_way(setting: &Setting, call: &Caller, event: &Event) -> bool {
    // What has no host is the last word of one that is being taken down.
    event.host.is_empty() || call.entry.has_on_way(setting, &event.host)
}

impl Invariant for LinesKnowTheirCallers {
    fn name(&self) -> &str {
        LINES_KNOW_THEIR_CALLERS
    }

    fn wants(&self) -> Wants {
        Wants::events()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(entry) = Entry::of(&self.setting, &call.request) {
            let id = call.request.id_sent().filter(|id| is_legal(id));
            let is_stranger = visited(&call.request).is_some();
            self.calls.insert(call.request.id, Caller { entry, id, is_stranger, has_line: false });
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.note_death(event);
        // Clients speak of their calls by name. What did not become a request has an id that means nothing, and nodes ask
        // each other whether they serve on nobody's behalf.
        let is_of_nobody = access_path(event).is_some_and(|path| [NO_REQUEST, Watch::PATH].contains(&path));
        if *event.host == *CLIENTS || is_of_nobody {
            return Ok(());
        }
        let Some(id) = event.request_id.as_deref() else {
            let needs_one = event.line().is_some_and(|line| line.target == ACCESS || line.of_call.is_some());
            return if needs_one {
                Err(format!("a line that belongs to a call has no request id: {event}"))
            } else {
                Ok(())
            };
        };
        self.met += 1;
        match event.request {
            Some(number) => self.judge_sent(event, number, id),
            None => self.judge_made(event, id),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let carried = call.reply.as_ref().and_then(|reply| reply.request_id.as_deref());
        let (Some(id), Some(caller)) = (carried, self.calls.get(call.request.id)) else { return Ok(()) };
        if self.is_line_lost(caller, call.ended.unwrap_or_default()) {
            return Ok(());
        }
        if caller.id.is_none() {
            return self.end_made(call, id);
        }
        // A stream that its watcher leaves has its line later.
        let is_watched = self.setting.kind(&call.request).is_some_and(|kind| kind.is_watched);
        if caller.has_line || is_watched {
            return Ok(());
        }
        Err(format!("{} has its reply, and no access line", call.request_id))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The path in the access line of what a client sent and what did not become a request, as half of one.
const NO_REQUEST: &str = "-";

/// The target of the line that an edge logs of every call.
const ACCESS: &str = "access";

/// The path in the line that an edge logs of a call.
pub(super) fn access_path(event: &Event) -> Option<&str> {
    let line = event.line().filter(|line| line.target == ACCESS)?;
    Some(line.field("path").and_then(|path| path.as_str()).unwrap_or_default())
}

/// How long the call took, by that line.
pub(super) fn access_took(event: &Event) -> Option<Duration> {
    let ms = event.field("duration_ms").and_then(|ms| ms.as_f64())?;
    Duration::try_from_secs_f64(ms / 1e3).ok()
}
