//! What must hold of handlers: once for each call, for as long as it lasts, and never for one that was not sent.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Value};

use crate::clients::NOT_SENT;
use crate::faults::{Fault, Faults, HOP, POWER_LOSS};
use crate::hosts::{BEGUN, PING_TIMEOUT};
use crate::statuses::was_not_sent;

/// The number of the request that a log line is about.
pub(crate) fn number(event: &Event) -> Option<u32> {
    event.request.filter(|_| event.line().is_some())
}

/// Whether `event` is a log line of these words.
pub(crate) fn says(event: &Event, words: &str) -> bool {
    event.line().is_some_and(|line| line.message == words)
}

/// The words of a log line.
fn words(event: &Event) -> &str {
    event.line().map_or("", |line| &line.message)
}

/// No host has anything to say of a call that has ended, but for the time that word of it takes.
#[derive(Debug, Default)]
pub(crate) struct HandlersEndWithTheirCalls {
    /// The kind of each call that has ended, and when.
    ended: BTreeMap<u32, (String, Duration)>,
    faults: Faults,
    met: u64,
}

impl Invariant for HandlersEndWithTheirCalls {
    fn name(&self) -> &str {
        "no handler runs on when its call has ended"
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let ended = call.ended.unwrap_or_default();
        self.ended.insert(call.request.id, (call.request.kind.clone(), ended));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        let Some((kind, ended)) = number(event).and_then(|number| self.ended.get(&number)) else {
            return Ok(());
        };
        self.met += 1;
        let hops = if kind == "hello" && &*event.host != "service2" { 2 } else { 1 };
        // A line without a host is the last word of one that is being taken down.
        let is_late = event.at > *ended + HOP * hops && !event.host.is_empty();
        if !is_late || self.is_delayed(kind, hops, (*ended, event.at)) {
            return Ok(());
        }
        let (id, late) = (event.request_id.as_deref().unwrap_or_default(), event.at - *ended);
        Err(format!("{:?} for {id} on {}, {} ms after its call", words(event), event.host, late.as_millis()))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl HandlersEndWithTheirCalls {
    /// Whether word of the end was held up on its way over so many hops.
    fn is_delayed(&self, kind: &str, hops: u32, between: (Duration, Duration)) -> bool {
        let mut on_way = self.faults.on_way_of(kind).filter(|(_, place)| (*place as u32) < hops);
        on_way.any(|(fault, _)| fault.delays() && fault.is_felt(between, word_after(fault)))
    }
}

/// How long after a fault word may still be late.
fn word_after(fault: &Fault) -> Duration {
    // A node whose client fell silent finds that out by pinging it after twice that time.
    let silence = if fault.family == POWER_LOSS { PING_TIMEOUT * 3 } else { Duration::ZERO };
    fault.backlog().saturating_add(silence + HOP)
}

/// A call is handled once on each hop of its way, over all hosts that could: once at most if it fails, and never
/// where its caller was told that it was not sent.
#[derive(Debug, Default)]
pub(crate) struct HandledOnceOrNotAtAll {
    /// The handlers that began for each call, by service.
    begun: BTreeMap<u32, [u32; 2]>,
    /// The calls that were not sent, and which service must never see them.
    not_sent: BTreeMap<u32, usize>,
    met: u64,
}

impl Invariant for HandledOnceOrNotAtAll {
    fn name(&self) -> &str {
        "a call is handled once at most, and never if it was not sent"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(number) = number(event).filter(|_| says(event, BEGUN)) else { return Ok(()) };
        self.met += 1;
        let service = usize::from(&*event.host != "service2");
        let begun = &mut self.begun.entry(number).or_default()[service];
        *begun += 1;
        let id = event.request_id.as_deref().unwrap_or_default();
        if *begun > 1 {
            return Err(format!("{id} was handled twice, now on {}", event.host));
        }
        match self.not_sent.get(&number) {
            Some(first) if service >= *first => {
                Err(format!("{} handles {id}, which is said not to have been sent", event.host))
            }
            _ => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (id, number) = (&call.request_id, call.request.id);
        let begun = self.begun.get(&number).copied().unwrap_or_default();
        let is_ok = call.reply.as_ref().is_some_and(sim::Reply::is_ok);
        let expected = if call.request.kind == "hello" { [1, 1] } else { [0, 1] };
        if is_ok && begun != expected {
            return Err(format!("{id} worked, and its handlers began {begun:?} times"));
        }
        if !was_not_sent(call) {
            return Ok(());
        }
        // A client's own word is about both services, a node's about the second.
        let is_clients = call.reply.as_ref().is_some_and(|reply| reply.status == NOT_SENT);
        let first = usize::from(!is_clients);
        self.not_sent.insert(number, first);
        match begun[first..].iter().sum() {
            0 => Ok(()),
            _ => Err(format!("{id} was handled, and is said not to have been sent")),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Every line is about the call whose id it carries: one that a client made, on a host on its way, with its name.
#[derive(Debug, Default)]
pub(crate) struct LinesAreAboutTheirCalls {
    /// The kind of each call, and the name that it asks for in capitals.
    calls: BTreeMap<u32, (String, String)>,
    met: u64,
}

impl Invariant for LinesAreAboutTheirCalls {
    fn name(&self) -> &str {
        "every log line is about the call whose id it carries"
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let (kind, name) = (call.request.kind.clone(), call.request.argument.to_uppercase());
        self.calls.insert(call.request.id, (kind, name));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(call) = number(event).map(|number| self.calls.get(&number)) else { return Ok(()) };
        self.met += 1;
        let is_on_way = |kind: &str| kind == "hello" || &*event.host != "service2";
        let tells = event.field("name").and_then(Value::as_str);
        match call {
            Some((kind, name)) if is_on_way(kind) && tells.is_none_or(|tells| tells == name) => Ok(()),
            _ => Err(format!("{event}, and the call is {call:?}")),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A drain loses no call: each is answered, or refused before its handler on the draining host begins.
#[derive(Debug, Default)]
pub(crate) struct DrainsLoseNothing {
    faults: Faults,
    /// Where and when the handlers of each call began.
    begun: BTreeMap<u32, Vec<(String, Duration)>>,
    met: u64,
}

impl Invariant for DrainsLoseNothing {
    fn name(&self) -> &str {
        "a drain loses no call that was accepted"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if let Some(number) = number(event).filter(|_| says(event, BEGUN)) {
            self.begun.entry(number).or_default().push((event.host.to_string(), event.at));
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        if reply.is_ok() || call.request.deadline < crate::checks::ENOUGH {
            return Ok(());
        }
        self.met += 1;
        let begun = self.begun.get(&call.request.id).map_or(&[][..], Vec::as_slice);
        let cut_off = begun.iter().find(|(host, at)| {
            let mut drains = self.faults.on_host(host).filter(|fault| fault.family == "drain");
            drains.any(|drain| drain.is_felt((*at, ended), Duration::ZERO))
        });
        if let Some((host, _)) = cut_off {
            return Err(format!("{} was cut off on {host}: {reply:?}", call.request_id));
        }
        let is_refused = was_not_sent(call) || reply.status == "RESOURCE_EXHAUSTED";
        if is_refused { Ok(()) } else { Err(format!("{} got {reply:?}", call.request_id)) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
