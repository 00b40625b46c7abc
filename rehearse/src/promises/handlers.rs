//! What must hold of handlers: once for each call, for as long as it lasts, and never for one that was not sent.

use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallRecord, Event, Family, Invariant, Wants};

use super::faults::{Fault, Faults};
use super::hops::Hops;
use super::ids::access_path;
use super::names::{HANDLED_ONCE, HANDLERS_END_WITH_CALLS};
use super::requests::ByRequest;
use super::twins::has_key;
use crate::clients::NOT_SENT;
use crate::facts::{CallMade, CallOutcome, HandlerBegun, HandlerEnded, Outcome};
use crate::ids::is_made_by_node;
use crate::load::Via;
use crate::setting::Setting;

/// How long a REST edge goes on with a request whose client has closed the connection: it may have closed its own side
/// only, and wait for the answer.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

/// No handler runs on when the call that it handles has ended, but for the time that word of it takes.
#[derive(Debug)]
pub(super) struct HandlersEndWithTheirCalls {
    setting: Arc<Setting>,
    entries: ByRequest<Entry>,
    hops: Hops,
    faults: Faults,
    met: u64,
}

/// A client's call: the rpc, whether its handler is not cut off when it ends, when that was, and how long word of it may
/// be held back.
#[derive(Debug)]
struct Entry {
    path: &'static str,
    has_key: bool,
    ended: Option<Duration>,
    held_back: Duration,
}

impl HandlersEndWithTheirCalls {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (entries, hops, faults) = (ByRequest::default(), Hops::default(), Faults::default());
        Self { setting: Arc::clone(setting), entries, hops, faults, met: 0 }
    }

    /// The rpc whose handler, or whose call at an edge, ends with this event. A REST edge names its own path: there
    /// it is the one that the client called.
    fn path<'a>(&'a self, number: u32, event: &'a Event) -> Option<&'a str> {
        if let Some(ended) = event.told::<HandlerEnded>() {
            return Some(ended.path);
        }
        let path = access_path(event)?;
        let is_called = self.hops.of(number).iter().any(|hop| hop.made.path == path);
        if is_called { Some(path) } else { self.entries.get(number).map(|entry| entry.path) }
    }

    /// The calls that a handler of `path` may handle: when each has ended, if it has, and on which host it was made.
    fn calls(&self, number: u32, path: &str) -> impl Iterator<Item = (Option<Duration>, &str)> {
        let hops = self.hops.of(number).iter().filter(move |hop| hop.made.path == path);
        let hops = hops.map(|hop| (hop.ended.map(|(at, _)| at), &*hop.host));
        let entry = self.entries.get(number).filter(|entry| entry.path == path);
        hops.chain(entry.map(|entry| (entry.ended, CLIENTS)))
    }

    /// When the last of these calls ended, and on which host it was made; `None` while one of them lasts.
    fn ended(&self, number: u32, path: &str) -> Option<(Duration, &str)> {
        let calls = self.calls(number, path);
        let (last, host) = calls.max_by_key(|(ended, _)| ended.unwrap_or(Duration::MAX))?;
        Some((last?, host))
    }

    fn judge(&self, number: u32, path: &str, event: &Event) -> Result<(), String> {
        let Some((ended, caller)) = self.ended(number, path) else { return Ok(()) };
        let most = self.setting.hop() + self.held_back(number, path, caller);
        // A line without a host is the last word of one that is being taken down.
        let is_late = event.at > ended + most && !event.host.is_empty();
        // It may be any of them that was held up, and comes after one that was made in its place.
        let mut calls = self.calls(number, path);
        let mut is_delayed =
            || calls.any(|(at, host)| self.is_delayed((host, &event.host), (at.unwrap_or(ended), event.at)));
        if !is_late || is_delayed() {
            return Ok(());
        }
        let (late, most) = ((event.at - ended).as_millis(), most.as_millis());
        let what = if event.line().is_some() { "its access line was written" } else { "its handler ended" };
        Err(format!(
            "sim-{number:06} {path}: {what} on {} {late} ms after its call had ended on {caller}; expected {most} ms at \
             most, the time of word from one to the other",
            event.host
        ))
    }

    /// Judges that a handler begins which its caller's leaving does not cut off: it is for a caller who is there.
    fn begins(&self, number: u32, begun: &HandlerBegun, event: &Event) -> Result<(), String> {
        let entry = self.entries.get(number).filter(|entry| entry.has_key && entry.path == begun.path);
        let Some((entry, ended)) = entry.and_then(|entry| Some((entry, entry.ended?))) else { return Ok(()) };
        let most = self.setting.hop() + entry.held_back;
        if event.at <= ended + most || self.is_delayed((CLIENTS, &event.host), (ended, event.at)) {
            return Ok(());
        }
        let (late, most) = ((event.at - ended).as_millis(), most.as_millis());
        Err(format!(
            "sim-{number:06} {}: its handler begins on {} {late} ms after its caller had left; expected that it does not, from \
             {most} ms after that on, the time of word from one to the other",
            begun.path, event.host
        ))
    }

    /// Whether the connection of a client's call was reset in the moment in which the call ended: then a node knows that the
    /// client wants no answer.
    fn was_reset(&self, call: &CallRecord) -> bool {
        let kind = self.setting.kind(&call.request);
        let host = kind.and_then(|kind| self.setting.graph.entry(kind.service, call.request.id));
        let Some((host, ended)) = host.zip(call.ended) else { return false };
        let mut resets = self.faults.iter().filter(|fault| fault.family == Family::Reset);
        resets.any(|reset| {
            reset.is_between(CLIENTS, host) && (reset.from..=reset.from + self.setting.tick).contains(&ended)
        })
    }

    /// How long word of the end of a call that `caller` made may be held back where it arrives.
    fn held_back(&self, number: u32, path: &str, caller: &str) -> Duration {
        let entry = self.entries.get(number).filter(|entry| caller == CLIENTS && entry.path == path);
        entry.map_or(Duration::ZERO, |entry| entry.held_back)
    }

    /// Whether word of the end was held up on its way from one host to the other.
    fn is_delayed(&self, (from, to): (&str, &str), between: (Duration, Duration)) -> bool {
        let is_on_way = |fault: &&Fault| fault.is_between(from, to) || fault.is_on(to) || fault.is_on(from);
        let mut on_way = self.faults.iter().filter(is_on_way);
        let found_dead = self.setting.found_dead() + self.setting.hop() * 3;
        let mut pauses = self.faults.on_host(to).filter(|fault| fault.family == Family::Pause);
        let was_awake = !pauses.any(|pause| pause.is_felt(between, found_dead));
        // Nobody pings over HTTP/1.1.
        let was_found = |fault: &Fault| from != CLIENTS && was_awake && fault.was_found(between, found_dead);
        on_way.any(|fault| {
            fault.delays() && fault.is_felt(between, self.word_after(fault)) && !was_found(fault)
        })
    }

    /// How long after a fault word may still be late.
    fn word_after(&self, fault: &Fault) -> Duration {
        // A node whose client fell silent finds that out by pinging it.
        let is_dark = fault.family == Family::PowerLoss;
        let silence = if is_dark { self.setting.found_dead() } else { Duration::ZERO };
        fault.backlog().saturating_add(silence + self.setting.hop())
    }
}

impl Invariant for HandlersEndWithTheirCalls {
    fn name(&self) -> &str {
        HANDLERS_END_WITH_CALLS
    }

    fn wants(&self) -> Wants {
        Hops::wants(Faults::wants()).lines().fact::<HandlerEnded>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(kind) = self.setting.kind(&call.request) {
            let held_back = if kind.via == Via::Rest { HALF_CLOSED_MAX } else { Duration::ZERO };
            let (path, has_key) = (kind.path, has_key(&call.request));
            self.entries.insert(call.request.id, Entry { path, has_key, ended: None, held_back });
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let was_reset = self.was_reset(call);
        if let Some(entry) = self.entries.get_mut(call.request.id) {
            entry.ended = call.ended;
            entry.held_back = if was_reset { Duration::ZERO } else { entry.held_back };
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        self.hops.note(event);
        let Some(number) = event.request else { return Ok(()) };
        if let Some(begun) = event.told::<HandlerBegun>() {
            return self.begins(number, begun, event);
        }
        let Some(path) = self.path(number, event) else { return Ok(()) };
        let goes_on = |entry: &Entry| entry.has_key && entry.path == path && event.line().is_none();
        if self.entries.get(number).is_some_and(goes_on) {
            return Ok(());
        }
        let judged = self.judge(number, path, event);
        self.met += 1;
        judged
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A call is handled once at most, over all hosts that could, exactly once if it worked, and never where its caller
/// was told that it was not sent.
#[derive(Debug)]
pub(super) struct HandledOnceOrNotAtAll {
    setting: Arc<Setting>,
    /// By request, for each rpc that was called for it.
    counts: ByRequest<Vec<(&'static str, Counts)>>,
    met: u64,
}

/// What is known of the calls of one rpc for one request.
#[derive(Debug, Default)]
struct Counts {
    made: u32,
    not_sent: u32,
    worked: u32,
    begun: u32,
    /// Whether the call may be one that was made before, and have the answer of that.
    is_repeated: bool,
}

impl Counts {
    fn judge(&self, number: u32, path: &str, host: &str) -> Result<(), String> {
        let Self { made, not_sent, worked, begun, is_repeated } = *self;
        if begun + not_sent > made {
            return Err(format!(
                "sim-{number:06} {path} was called {made} times, {not_sent} of these calls came to the proof that they \
                 were not sent, and {begun} handlers began, the last on {host}; expected {} at most",
                made.saturating_sub(not_sent)
            ));
        }
        if begun < worked && !is_repeated {
            return Err(format!(
                "sim-{number:06} {path} worked {worked} times, and {begun} handlers had begun; expected one for each \
                 call that worked"
            ));
        }
        Ok(())
    }
}

impl HandledOnceOrNotAtAll {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), counts: ByRequest::default(), met: 0 }
    }

    /// The rpc that a client called, unless its handlers go under an id that a node made.
    fn path(&self, call: &CallRecord) -> Option<&'static str> {
        let kind = self.setting.kind(&call.request).filter(|_| !is_made_by_node(&call.request))?;
        Some(kind.path)
    }

    fn count(
        &mut self,
        number: u32,
        path: &'static str,
        host: &str,
        change: impl FnOnce(&mut Counts),
    ) -> Result<(), String> {
        let rpcs = self.counts.get_or_default(number);
        let known = rpcs.iter().position(|(known, _)| *known == path);
        let at = known.unwrap_or(rpcs.len());
        if known.is_none() {
            rpcs.push((path, Counts::default()));
        }
        let counts = &mut rpcs[at].1;
        change(counts);
        counts.judge(number, path, host)
    }
}

impl Invariant for HandledOnceOrNotAtAll {
    fn name(&self) -> &str {
        HANDLED_ONCE
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing())
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(path) = self.path(call) else { return Ok(()) };
        let is_repeated = has_key(&call.request);
        self.count(call.request.id, path, CLIENTS, |counts| {
            counts.made += 1;
            counts.is_repeated |= is_repeated;
        })
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some((path, reply)) = self.path(call).zip(call.reply.as_ref()) else { return Ok(()) };
        let (is_ok, is_unsent) = (reply.is_ok(), reply.status == NOT_SENT);
        self.count(call.request.id, path, CLIENTS, |counts| {
            counts.worked += u32::from(is_ok);
            counts.not_sent += u32::from(is_unsent);
        })
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(number) = event.request else { return Ok(()) };
        if let Some(CallOutcome { path, outcome, .. }) = event.told() {
            // What a host that is taken down says with its last breath is no outcome.
            let is = |wanted| u32::from(*outcome == wanted && !event.host.is_empty());
            let (worked, not_sent) = (is(Outcome::Ok), is(Outcome::NotSent));
            return self.count(number, path, &event.host, |counts| {
                counts.worked += worked;
                counts.not_sent += not_sent;
            });
        }
        if let Some(made) = event.told::<CallMade>() {
            return self.count(number, made.path, &event.host, |counts| counts.made += 1);
        }
        if let Some(begun) = event.told::<HandlerBegun>() {
            self.met += 1;
            return self.count(number, begun.path, &event.host, |counts| counts.begun += 1);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(made: u32, not_sent: u32, worked: u32, begun: u32) -> Result<(), String> {
        let is_repeated = false;
        Counts { made, not_sent, worked, begun, is_repeated }.judge(1, "/shop.Orders/Place", "orders")
    }

    #[test]
    fn a_call_that_failed_may_have_been_handled_or_not() {
        assert_eq!(judge(1, 0, 0, 0), Ok(()));
        assert_eq!(judge(1, 0, 0, 1), Ok(()));
    }

    #[test]
    fn a_call_that_was_not_sent_or_that_worked_leaves_no_choice() {
        assert_eq!(judge(2, 1, 1, 1), Ok(()));
        assert!(judge(1, 1, 0, 1).is_err(), "it was not sent");
        assert!(judge(1, 0, 1, 0).is_err(), "nobody handled it, and it worked");
        assert!(judge(1, 0, 1, 2).is_err(), "one call was handled twice");
    }
}
