//! What begins ends by its deadline, whatever else happens: handlers, and calls at the edges of their hosts.

use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Family, Invariant, Wants, What};

use super::deadlines::GRACE;
use super::faults::Faults;
use super::hops::Lefts;
use super::ids::{access_path, access_took};
use super::names::{EDGES_END_CALLS, EDGES_KEEP_DEADLINES, HANDLERS_END_BY_DEADLINES};
use super::requests::ByRequest;
use crate::facts::{CallMade, HandlerBegun, HandlerBegunLate, HandlerEnded};
use crate::setting::Setting;

/// What begins with a handler ends by its deadline.
#[derive(Debug)]
pub(super) struct EndsInTime {
    promise: &'static str,
    setting: Arc<Setting>,
    is_of_edges: bool,
    open: Vec<Open>,
    /// When the first of `open` is late, or one that has ended since would have been.
    earliest: Duration,
    faults: Faults,
    met: u64,
}

/// How long after its deadline an answer may wait for its client to read it.
const OVERTIME: Duration = Duration::from_secs(1);

/// A handler that has begun.
#[derive(Debug)]
struct Open {
    host: Arc<str>,
    number: u32,
    path: &'static str,
    due: Duration,
    is_answered: bool,
}

impl EndsInTime {
    /// No handler runs on after its deadline, but for the grace.
    pub(super) fn handlers(setting: &Arc<Setting>) -> Self {
        Self::new(HANDLERS_END_BY_DEADLINES, setting, false)
    }

    /// Every call that has begun has its access line by its deadline.
    pub(super) fn edges(setting: &Arc<Setting>) -> Self {
        Self::new(EDGES_END_CALLS, setting, true)
    }

    fn new(promise: &'static str, setting: &Arc<Setting>, is_of_edges: bool) -> Self {
        let (open, faults, setting) = (Vec::new(), Faults::default(), Arc::clone(setting));
        Self { promise, setting, is_of_edges, open, earliest: Duration::MAX, faults, met: 0 }
    }

    fn begin(&mut self, event: &Event, number: u32, begun: &HandlerBegun) {
        // A call that came over no network has no edge.
        let Some(left) = begun.left.filter(|_| !self.is_of_edges || !begun.is_local) else { return };
        let due = event.at + left + GRACE;
        self.open.push(Open {
            host: Arc::clone(&event.host),
            number,
            path: begun.path,
            due,
            is_answered: false,
        });
        self.earliest = self.earliest.min(due);
    }

    /// That may have been the first to be late: the next one that would be is looked for when its time comes.
    fn end(&mut self, event: &Event, number: u32, path: &str) {
        let here = || {
            let is_here = |open: &Open| open.number == number && open.host == event.host;
            self.open.iter().enumerate().filter(move |(_, open)| is_here(open))
        };
        // Which of several of one request and rpc has ended is not told: that there is one less is what counts.
        let same = here().filter(|(_, open)| open.path == path).min_by_key(|(_, open)| open.due);
        // A REST edge names its own path.
        if let Some((ended, _)) = same.or_else(|| here().next()) {
            self.open.swap_remove(ended);
            self.met += 1;
        }
    }

    /// The handler of a call has answered in time: the answer may take a little longer to be read, if it is large.
    fn answer(&mut self, event: &Event, number: u32, path: &str) {
        let is_same =
            |open: &&mut Open| open.number == number && open.host == event.host && open.path == path;
        if let Some(open) =
            self.open.iter_mut().filter(is_same).min_by_key(|open| (open.is_answered, open.due))
            && event.at + GRACE * 2 < open.due
            && !std::mem::replace(&mut open.is_answered, true)
        {
            open.due += OVERTIME;
        }
    }

    fn look_ahead(&mut self) {
        self.earliest = self.open.iter().map(|open| open.due).min().unwrap_or(Duration::MAX);
    }

    /// What ran on a host that was taken down is gone: when the fault began, or, of a drain, when it ended.
    fn forget_the_dead(&mut self, now: Duration) {
        self.open.retain(|open| !self.faults.on_host(&open.host).any(|fault| fault.takes_down_at(now)));
        self.look_ahead();
    }

    /// Whether all that is open may still be so. What other hosts do in the same tick may be told before.
    fn judge(&mut self, event: &Event) -> Result<(), String> {
        for open in &mut self.open {
            let pauses = self.faults.on_host(&open.host).filter(|fault| fault.family == Family::Pause);
            let awake = pauses.map(|pause| pause.until.unwrap_or(event.at)).max().unwrap_or_default();
            open.due = open.due.max(awake + GRACE);
            let grace = if *event.host == *open.host { Duration::ZERO } else { self.setting.tick };
            if event.at > open.due + grace {
                let late = (event.at + GRACE - open.due).as_millis();
                let Open { number, path, host, .. } = open;
                let what =
                    if self.is_of_edges { "the access line of its call is missing" } else { "it still runs" };
                return Err(format!(
                    "sim-{number:06} {path}: its handler began on {host}, and {what} {late} ms after its deadline; \
                     expected that within {} ms",
                    GRACE.as_millis()
                ));
            }
        }
        self.look_ahead();
        Ok(())
    }
}

impl Invariant for EndsInTime {
    fn name(&self) -> &str {
        self.promise
    }

    fn wants(&self) -> Wants {
        Wants::events().needing::<HandlerBegun>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if event.at > self.earliest {
            self.judge(event)?;
        }
        if matches!(event.what, What::FaultBegins { .. } | What::FaultEnds { .. }) {
            self.forget_the_dead(event.at);
        }
        let Some(number) = event.request else { return Ok(()) };
        if !self.is_of_edges && event.told::<HandlerBegunLate>().is_some() {
            return Err(format!("expected that a call past its deadline is not handled; seen: {event}"));
        }
        if let Some(begun) = event.told::<HandlerBegun>() {
            self.begin(event, number, begun);
        } else if self.is_of_edges {
            if let Some(path) = access_path(event) {
                self.end(event, number, path);
            } else if let Some(ended) = event.told::<HandlerEnded>() {
                self.answer(event, number, ended.path);
            }
        } else if let Some(ended) = event.told::<HandlerEnded>() {
            self.end(event, number, ended.path);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Every call ends at its edge by the deadline in force there, whatever it waits for.
#[derive(Debug)]
pub(super) struct EdgesKeepDeadlines {
    setting: Arc<Setting>,
    /// The rpc that each client called, and the deadline that the call came with.
    given: ByRequest<(&'static str, Duration)>,
    lefts: Lefts,
    /// When the handlers of each request have ended, and of which rpc.
    handled: ByRequest<Vec<(&'static str, Duration)>>,
    faults: Faults,
    met: u64,
}

impl EdgesKeepDeadlines {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (given, lefts, handled, faults) = Default::default();
        Self { setting: Arc::clone(setting), given, lefts, handled, faults, met: 0 }
    }

    /// The deadline of what came to an edge: that of the calls that services made to this path, or, where none did,
    /// of the client's.
    fn given(&self, number: u32, path: &str) -> Option<Duration> {
        let entry = self.given.get(number);
        let longest = self.lefts.longest(number, path);
        let is_entry = longest.is_none() || entry.is_some_and(|(entry, _)| *entry == path);
        longest.max(entry.filter(|_| is_entry).map(|(_, given)| *given))
    }

    /// Whether the answer may have been there in time and wait for its client to read: it is large itself, or what others of
    /// the connection have sent is not read.
    fn may_be_unread(&self, event: &Event, number: u32, path: &str, due: Duration) -> bool {
        let in_time = |(handled, at): &(&str, Duration)| *handled == path && *at + GRACE * 2 < due;
        is_large(event) || self.handled.get(number).is_some_and(|handled| handled.iter().any(in_time))
    }

    /// Whether the host did nothing for a while, up to this very moment.
    fn has_paused(&self, event: &Event) -> bool {
        let mut pauses = self.faults.on_host(&event.host).filter(|fault| fault.family == Family::Pause);
        pauses.any(|pause| pause.is_felt((event.at, event.at), GRACE))
    }
}

impl Invariant for EdgesKeepDeadlines {
    fn name(&self) -> &str {
        EDGES_KEEP_DEADLINES
    }

    fn wants(&self) -> Wants {
        Faults::wants().lines().fact::<CallMade>().fact::<HandlerEnded>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(kind) = self.setting.kind(&call.request) {
            self.given.insert(call.request.id, (kind.path, self.setting.given(&call.request)));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        self.lefts.note(event);
        if let (Some(number), Some(ended)) = (event.request, event.told::<HandlerEnded>()) {
            self.handled.get_or_default(number).push((ended.path, event.at));
        }
        let Some((number, path)) = event.request.zip(access_path(event)) else { return Ok(()) };
        self.met += 1;
        let took = access_took(event).ok_or_else(|| format!("a line without duration_ms: {event}"))?;
        let Some(given) = self.given(number, path) else { return Ok(()) };
        // A line without a host is the last word of one that is being taken down: it says when it died.
        let due = event.at.saturating_sub(took).saturating_add(given);
        let is_unread = self.may_be_unread(event, number, path, due);
        let most = given.saturating_add(if is_unread { OVERTIME } else { GRACE });
        if took <= most || event.host.is_empty() || self.has_paused(event) {
            return Ok(());
        }
        let (took, given) = (took.as_millis(), given.as_millis());
        Err(format!(
            "sim-{number:06} {path}: its access line on {} says that it took {took} ms; it had {given} ms",
            event.host
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Whether an answer is so large that its client has to read of it before the rest can be sent.
fn is_large(event: &Event) -> bool {
    /// What the connection takes unread may be shared by several answers.
    const BYTES: u64 = 16 * 1024;
    event.field("bytes").and_then(sim::Value::as_u64).is_some_and(|bytes| bytes > BYTES)
}
