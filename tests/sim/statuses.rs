//! A status is one that the faults explain which lay on the call's way.
//!
//! The table says what each family of faults can make of a call, by where it lies. A fault counts while it is in
//! force, and in its aftermath, which begins with its end. A call with no fault on its way must work, unless a
//! service on it had as many calls as it takes on at some moment meanwhile.

use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Request, Value};

use crate::checks::ENOUGH;
use crate::clients::{BROKEN, GAVE_UP, HUNG_UP, NOT_SENT};
use crate::faults::{Fault, Faults, HOP, POWER_LOSS, Place, TICK};
use crate::handlers::says;
use crate::hosts::{FULL, PING_TIMEOUT};
use crate::house::Houses;

/// What can become of a call besides `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The deadline passed, at the edge or for the client itself, whichever is first.
    Late,
    /// The client's own connection broke under the call.
    Broken,
    /// The node closed the client's connection unasked. HTTP/1.1 cannot say that a request was not read, so this
    /// is also what one gets that crosses a drain.
    HungUp,
    /// The node lost its connection to the next: `UNAVAILABLE`, and nobody knows how far the call came.
    Lost,
    /// There was no connection, or the peer did not read the call.
    NotSent,
    /// The handler panicked: `INTERNAL`.
    Panicked,
    /// A service refused it because the plan says so: `RESOURCE_EXHAUSTED`.
    Full,
    /// A service refused it because it had as many calls as it takes on: the other `RESOURCE_EXHAUSTED`.
    Crowded,
    /// Nothing that may ever be.
    Wrong,
}

use Outcome::{Broken, Crowded, Full, HungUp, Late, Lost, NotSent, Panicked};

/// One family of faults: what it can do to a call whose client talks over it, and to one whose edge does.
struct Row(&'static str, &'static [Outcome], &'static [Outcome]);

/// Clock faults are not in it: they explain nothing.
const TABLE: &[Row] = &[
    Row("partition", &[Late, Broken, NotSent], &[Late, Lost]),
    Row("partition-one-way", &[Late, Broken, NotSent], &[Late, Lost]),
    Row("hold", &[Late, Broken, NotSent], &[Late, Lost]),
    Row("slow-link", &[Late, Broken, NotSent], &[Late, Lost]),
    Row("reset", &[Broken, HungUp, NotSent], &[Lost]),
    Row("power-loss", &[Late, Broken, NotSent], &[Late, Lost]),
    Row("kill", &[Broken, HungUp, NotSent], &[Lost]),
    Row("pause", &[Late, Broken, NotSent, Lost], &[Late, Lost]),
    Row("drain", &[HungUp, NotSent], &[NotSent]),
    Row("slow-handler", &[Late], &[Late]),
    Row("panicking-handler", &[Panicked], &[Panicked]),
    Row("full-service", &[Full], &[Full]),
];

/// Judges each call that did not work by [`TABLE`].
#[derive(Debug)]
pub(crate) struct StatusesAreExplained {
    faults: Faults,
    houses: Houses,
    retreats: Vec<Retreat>,
    /// The calls that worked: kind, client, start and end.
    worked: Vec<(String, String, Duration, Duration)>,
    met: u64,
}

/// The node that could not connect leaves its peer alone for a while: calls to it are not sent.
#[derive(Debug)]
struct Retreat {
    from: Duration,
    until: Duration,
}

impl StatusesAreExplained {
    pub(crate) fn new(admitted: usize) -> Self {
        let (faults, houses) = (Faults::default(), Houses::new(admitted));
        Self { faults, houses, retreats: Vec::new(), worked: Vec::new(), met: 0 }
    }
}

impl Invariant for StatusesAreExplained {
    fn name(&self) -> &str {
        "a status is one that the faults explain"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        self.houses.note(event);
        if !says(event, "cannot connect") {
            return Ok(());
        }
        let pause = event
            .field("next_try_in")
            .and_then(Value::as_str)
            .and_then(seconds)
            .ok_or("a line without its next try")?;
        self.retreats.push(Retreat { from: event.at, until: event.at + pause });
        let cuts_off = |fault: &Fault| CUTS_OFF.contains(&&*fault.family);
        let is_felt = |fault: &Fault| fault.is_felt((event.at, event.at), after(fault));
        match self.faults.on_way_of("hello").any(|(fault, _)| cuts_off(fault) && is_felt(fault)) {
            true => Ok(()),
            false => Err(format!("{} could not connect, and nothing is in its way", event.host)),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
        if reply.is_ok() {
            let Request { kind, client, .. } = &call.request;
            self.worked.push((kind.clone(), client.clone(), call.started, ended));
            return Ok(());
        }
        self.met += 1;
        match self.is_explained(call, outcome(call), ended) {
            true => Ok(()),
            false => Err(format!("{} got {reply:?}", call.request_id)),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

impl StatusesAreExplained {
    fn is_explained(&self, call: &CallRecord, outcome: Outcome, ended: Duration) -> bool {
        let (kind, started) = (call.request.kind.as_str(), call.started);
        let retreated = |retreat: &Retreat| retreat.from <= ended + TICK && retreat.until + TICK >= started;
        match outcome {
            Late if call.request.deadline < ENOUGH => return true,
            Crowded => return self.houses.was_full(kind, started),
            NotSent if kind != "name" && self.retreats.iter().any(retreated) => return true,
            _ => {}
        }
        let mut culprits =
            self.faults.on_way_of(kind).filter(|(fault, place)| allows(fault, *place, outcome));
        culprits.any(|(fault, place)| {
            fault.is_felt((started, ended), after(fault))
                || self.is_heard_late(fault, kind, (started, ended))
                || self.is_half_open(fault, place, call) && self.breaks(fault, outcome, (started, ended))
        })
    }

    /// Whether word of a fault, such as the FIN of a process that was killed, was itself held up by another.
    fn is_heard_late(&self, fault: &Fault, kind: &str, call: (Duration, Duration)) -> bool {
        let lasted = (fault.from, fault.until.unwrap_or(Duration::MAX));
        let mut delays = self.faults.on_way_of(kind).filter(|(other, _)| other.delays());
        delays.any(|(other, _)| other.is_felt(lasted, other.backlog()) && other.is_felt(call, after(other)))
    }

    /// A machine that lost its power told nobody: who was connected learns it with the next call, whenever that
    /// is. One call that works proves a new connection, where there is one at a time.
    fn is_half_open(&self, fault: &Fault, place: Place, call: &CallRecord) -> bool {
        let Some(until) = fault.until.filter(|_| fault.family == POWER_LOSS) else { return false };
        let Request { kind, client, .. } = &call.request;
        if place == Place::Edge && client == "rest" {
            return true;
        }
        !self.worked.iter().any(|(its_kind, its_client, started, ended)| {
            let same_way = its_kind == kind && (place == Place::Inside || its_client == client);
            same_way && *started >= until && *ended <= call.started
        })
    }

    /// What comes of a half-open connection: it breaks as soon as it is used. But in the simulation, a machine
    /// whose process has ended since says nothing on connections that it does not know.
    fn breaks(&self, fault: &Fault, outcome: Outcome, call: (Duration, Duration)) -> bool {
        let mut since = self.faults.on_host(fault.host());
        let has_ended = |other: &Fault| {
            ["kill", "drain"].contains(&&*other.family) && other.is_felt(call, Duration::ZERO)
        };
        [Broken, Lost, NotSent].contains(&outcome) || outcome == Late && since.any(has_ended)
    }
}

/// Whether the table lets `fault` do this to a call on whose way it lies there. A node that had not left when its
/// drain ended was killed.
fn allows(fault: &Fault, place: Place, outcome: Outcome) -> bool {
    let was_killed = fault.family == "drain" && fault.until.is_some() && !fault.has_left;
    let family = if was_killed { "kill" } else { &fault.family };
    let row = TABLE.iter().find(|row| row.0 == family);
    row.is_some_and(|Row(_, edge, inside)| match place {
        Place::Edge => edge.contains(&outcome),
        Place::Inside => inside.contains(&outcome),
    })
}

/// What became of a call that did not work.
fn outcome(call: &CallRecord) -> Outcome {
    let (status, value) = call.reply.as_ref().map_or(("", ""), |reply| (&reply.status, &reply.value));
    match status {
        "DEADLINE_EXCEEDED" | GAVE_UP => Late,
        BROKEN => Broken,
        HUNG_UP => HungUp,
        NOT_SENT => NotSent,
        "UNAVAILABLE" if UNSENT.contains(&value) => NotSent,
        "UNAVAILABLE" if value == "the connection was lost" => Lost,
        "INTERNAL" => Panicked,
        "RESOURCE_EXHAUSTED" if value == FULL => Full,
        "RESOURCE_EXHAUSTED" => Crowded,
        _ => Outcome::Wrong,
    }
}

/// What a node says of a call that it could not send, or that its peer did not read.
const UNSENT: &[&str] = &[
    "service1 cannot be reached",
    "service1 closes its connections",
    "the peer is shutting down",
    "the peer refused the call",
];

/// Whether the caller was told that nobody handled the call; for a call over two hops, that the second did not.
pub(crate) fn was_not_sent(call: &CallRecord) -> bool {
    outcome(call) == NotSent
}

/// What can keep a node from connecting to the next.
const CUTS_OFF: &[&str] =
    &["partition", "partition-one-way", "hold", "slow-link", "reset", "power-loss", "kill", "pause", "drain"];

/// How long calls feel a fault that has ended: until what it held up has arrived, and the word of it has gone one
/// hop there and back. A connection that was in the making at a power loss is given up as late as a PING is.
fn after(fault: &Fault) -> Duration {
    let silence = if fault.family == POWER_LOSS { PING_TIMEOUT } else { Duration::ZERO };
    fault.backlog().saturating_add(silence + HOP * 2)
}

/// Reads a duration as logs print it: `812.5ms`, `1.25s`.
fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * unit))
}
