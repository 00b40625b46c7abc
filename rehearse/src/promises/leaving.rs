//! What must hold of a node that is told to drain: it takes on nothing new, and leaves.

use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Family, FaultKind, Invariant, Wants, What};

use super::deadlines::GRACE;
use super::faults::{Fault, Faults};
use super::ids::access_path;
use super::names::{DRAINS_END, DRAINS_TAKE_NOTHING_ON};
use super::waits::Waits;
use crate::facts::{HandlerBegun, HandlerEnded, NodeStarted, NodeStopped};
use crate::setting::Setting;

/// How long what was accepted last has to send its request, before a drain sends GOAWAY.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// How long a connection that was drained waits for its client to close it.
const LINGER: Duration = Duration::from_secs(1);

/// The nodes that drain, and what goes on in all of them.
#[derive(Debug, Default)]
struct Nodes(Vec<Node>);

/// A node that runs.
#[derive(Debug)]
struct Node {
    host: Arc<str>,
    /// When it was told to drain.
    told: Option<Duration>,
    /// When somebody last worked there on a call, or on what outlives one.
    active: Duration,
    /// The calls there that have begun and not ended.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    id: String,
    path: &'static str,
    is_local: bool,
}

impl Nodes {
    /// Takes note of `event`, if it tells of a node's life; the node that it ends, or that is told to have left.
    fn note_life(&mut self, event: &Event) -> Option<Node> {
        match &event.what {
            What::FaultBegins { fault, .. } => match &fault.what {
                FaultKind::Drain { host } => {
                    let node = self.0.iter_mut().find(|node| *node.host == **host)?;
                    node.told = node.told.or(Some(event.at));
                }
                // It does not leave any more.
                FaultKind::Kill { host } | FaultKind::PowerLoss { host } => {
                    self.0.retain(|node| *node.host != **host);
                }
                _ => {}
            },
            // What has not left by now is killed.
            What::FaultEnds { fault, .. } => {
                if let FaultKind::Drain { host } = &fault.what {
                    return self.take(host);
                }
            }
            // What a node tells of its own life belongs to no request.
            What::Told(_) if event.request_id.is_some() => {}
            What::Told(_) if event.told::<NodeStarted>().is_some() => {
                self.take(&event.host);
                let host = Arc::clone(&event.host);
                self.0.push(Node { host, told: None, active: event.at, open: Vec::new() });
            }
            What::Told(_) if event.told::<NodeStopped>().is_some() => return self.take(&event.host),
            _ => {}
        }
        None
    }

    /// Takes note of `event`, if it tells of work for a call.
    fn note_work(&mut self, event: &Event) {
        if let Some(id) = &event.request_id
            && let Some(node) = self.0.iter_mut().find(|node| node.host == event.host)
        {
            node.work(event, id);
        }
    }

    fn take(&mut self, host: &str) -> Option<Node> {
        let at = self.0.iter().position(|node| *node.host == *host)?;
        Some(self.0.swap_remove(at))
    }
}

impl Node {
    fn work(&mut self, event: &Event, id: &str) {
        self.active = event.at;
        if let Some(HandlerBegun { path, is_local, .. }) = event.told() {
            self.open.push(Open { id: id.to_owned(), path, is_local: *is_local });
        } else if let Some(ended) = event.told::<HandlerEnded>() {
            self.end(|open| open.id == id && open.is_local && open.path == ended.path);
        } else if let Some(path) = access_path(event) {
            let is_it = |open: &Open| open.id == id && !open.is_local;
            // A REST edge names its own path.
            if !self.end(|open| is_it(open) && open.path == path) {
                self.end(is_it);
            }
        }
    }

    fn end(&mut self, is_it: impl Fn(&Open) -> bool) -> bool {
        let at = self.open.iter().position(is_it);
        at.map(|at| self.open.swap_remove(at)).is_some()
    }
}

/// What lies in the way of a node's drain.
fn on_way<'a>(faults: &'a Faults, host: &'a str) -> impl Iterator<Item = &'a Fault> {
    faults.iter().filter(move |fault| fault.is_at(host) || fault.is_of_host()).filter(|fault| fault.delays())
}

/// How long a segment takes over the slowest of these links that are slow.
fn slowest(faults: &[&Fault]) -> Duration {
    let slow = faults.iter().filter(|fault| fault.family == Family::SlowLink);
    slow.map(|fault| fault.backlog()).max().unwrap_or_default()
}

/// A node that was told to drain leaves: when its last call has ended and its clients have had the time to close
/// their connections, and in any case when the time for the drain is over.
#[derive(Debug)]
pub(super) struct DrainsEnd {
    setting: Arc<Setting>,
    faults: Faults,
    nodes: Nodes,
    met: u64,
}

impl DrainsEnd {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (faults, nodes) = (Faults::default(), Nodes::default());
        Self { setting: Arc::clone(setting), faults, nodes, met: 0 }
    }

    fn judge(&self, node: &Node, now: Duration) -> Result<(), String> {
        let Some(told) = node.told else { return Ok(()) };
        let from = told + self.setting.drain_delay;
        // Whatever else there is, so much time it has.
        if now <= from + LAST_MOMENT + LINGER.min(self.setting.drain_timeout) {
            return Ok(());
        }
        // What stood still before, has begun later.
        let slack = self.setting.tick * 2 + GRACE + self.paused(node, (told, now));
        let limit = from + self.setting.drain_timeout + LAST_MOMENT + slack;
        let quiet = node.active.max(from + LAST_MOMENT) + LINGER + slack + self.on_way(node, (told, now));
        let is_idle = node.open.is_empty();
        if now <= limit && !(is_idle && now > quiet) {
            return Ok(());
        }
        let since = (now - from).as_millis();
        let idle = (now.saturating_sub(node.active)).as_millis();
        let open = node.open.len();
        let due = (if is_idle { limit.min(quiet) } else { limit } - from).as_millis();
        Err(format!(
            "{} has drained for {since} ms and had not left; {open} calls are in flight there, and the last one \
             moved {idle} ms ago; expected it to leave within {due} ms",
            node.host
        ))
    }

    /// For how long the node itself stood still.
    fn paused(&self, node: &Node, span: (Duration, Duration)) -> Duration {
        let here = self.faults.on_host(&node.host).filter(|fault| fault.family == Family::Pause);
        here.map(|fault| fault.overlap(span)).sum()
    }

    /// What word of the drain, and its answers, may take: there and back twice, over a slow link too; and the time in
    /// which a client is found to be dead.
    fn on_way(&self, node: &Node, (from, now): (Duration, Duration)) -> Duration {
        let felt = |fault: &&Fault| {
            fault.is_felt((from, now), fault.backlog().saturating_add(self.setting.found_dead()))
        };
        let here: Vec<_> = on_way(&self.faults, &node.host).filter(felt).collect();
        let dead = if here.is_empty() { Duration::ZERO } else { self.setting.found_dead() };
        (self.setting.hop() + slowest(&here)) * 4 + dead * 2
    }
}

impl Invariant for DrainsEnd {
    fn name(&self) -> &str {
        DRAINS_END
    }

    fn wants(&self) -> Wants {
        Wants::events().needing::<HandlerBegun>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if let Some(node) = self.nodes.note_life(event) {
            self.met += u64::from(node.told.is_some());
            return self.judge(&node, event.at);
        }
        self.nodes.note_work(event);
        self.nodes.0.iter().try_for_each(|node| self.judge(node, event.at))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A node that was told to drain begins no call that comes later than word of the drain can have reached its callers. One
/// that waited for another one with its idempotency key came when it began to wait.
#[derive(Debug)]
pub(super) struct DrainsTakeNothingOn {
    setting: Arc<Setting>,
    faults: Faults,
    nodes: Nodes,
    waits: Waits,
    met: u64,
}

impl DrainsTakeNothingOn {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (faults, nodes, waits) = Default::default();
        Self { setting: Arc::clone(setting), faults, nodes, waits, met: 0 }
    }

    fn judge(&mut self, event: &Event, begun: &HandlerBegun, came: Duration) -> Result<(), String> {
        let mut nodes = self.nodes.0.iter().filter(|node| node.host == event.host && !begun.is_local);
        let Some(told) = nodes.next().and_then(|node| node.told) else { return Ok(()) };
        let from = told + self.setting.drain_delay;
        self.met += 1;
        let felt = |fault: &&Fault| fault.is_felt((told, came), fault.backlog());
        let here: Vec<_> = on_way(&self.faults, &event.host).filter(felt).collect();
        let most = LAST_MOMENT + (self.setting.hop() + slowest(&here)) * 4;
        let is_held = here.iter().any(|fault| fault.blocks());
        if is_held || came <= from + most {
            return Ok(());
        }
        let (after, most) = ((came - from).as_millis(), most.as_millis());
        let (number, path, host) = (event.request.unwrap_or_default(), begun.path, &event.host);
        Err(format!(
            "sim-{number:06} {path} came to {host} {after} ms after it began to drain; expected no call \
             later than {most} ms"
        ))
    }
}

impl Invariant for DrainsTakeNothingOn {
    fn name(&self) -> &str {
        DRAINS_TAKE_NOTHING_ON
    }

    fn wants(&self) -> Wants {
        Waits::wants(Faults::wants())
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.waits.note_call(call);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        self.nodes.note_life(event);
        let came = self.waits.note(event).unwrap_or(event.at);
        event.told::<HandlerBegun>().map_or(Ok(()), |begun| self.judge(event, begun, came))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
