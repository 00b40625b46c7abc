//! Which faults there are, where and since when, as the trace tells it, and which calls lie in their way.

use std::time::Duration;

use sim::{CLIENTS, Event, FaultKind, What};

use crate::hosts::{STARTED, STOPPED};

/// Hosts take their turns within a tick one after the other, each with the tick before it: of what two of them do in
/// the same one, either may be told first.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The longest that a segment takes over a healthy link.
pub(crate) const LATENCY_MAX: Duration = Duration::from_millis(12);

/// One segment from one host to the next over a healthy link: it waits for the end of a tick at last.
pub(crate) const HOP: Duration = Duration::from_millis(22);

/// The family of faults that lasts until its host starts again.
pub(crate) const POWER_LOSS: &str = "power-loss";

/// All faults so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

/// One fault, from when it began to when it ended.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What it is, as plans call it: `slow-link`.
    pub(crate) family: String,
    /// When it ended; `None` while it is in force.
    pub(crate) until: Option<Duration>,
    pub(crate) from: Duration,
    /// Whether the host had drained and left when it ended. One that had not was killed.
    pub(crate) has_left: bool,
    /// The host, or the two ends of the link.
    hosts: (String, Option<String>),
    /// How long a segment takes over a slow link.
    latency: Duration,
    /// Its place in the plan.
    number: usize,
}

/// Where a fault lies on the way of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Between the client and the host that it calls, or on that host.
    Edge,
    /// Between that host and the next, or on the next.
    Inside,
}

impl Faults {
    /// Takes note of `event`, if it tells of a fault or of what became of its host.
    pub(crate) fn note(&mut self, event: &Event) {
        match &event.what {
            What::FaultBegins { number, fault } => self.0.push(Fault::begun(*number, fault, event.at)),
            What::FaultEnds { number, .. } => {
                let ended = self.0.iter_mut().find(|fault| fault.number == *number);
                ended.into_iter().for_each(|fault| fault.end(event.at));
            }
            What::Log(line) if line.message == STARTED => {
                self.in_force_on(&event.host, POWER_LOSS).for_each(|fault| fault.until = Some(event.at))
            }
            What::Log(line) if line.message == STOPPED => {
                self.in_force_on(&event.host, "drain").for_each(|fault| fault.has_left = true)
            }
            _ => {}
        }
    }

    fn in_force_on(&mut self, host: &str, family: &str) -> impl Iterator<Item = &mut Fault> {
        let here = self.0.iter_mut().filter(move |fault| fault.hosts.0 == host && fault.family == family);
        here.filter(|fault| fault.until.is_none())
    }

    /// Those on the way of calls of `kind`, and where.
    pub(crate) fn on_way_of(&self, kind: &str) -> impl Iterator<Item = (&Fault, Place)> {
        self.0.iter().filter_map(move |fault| Some((fault, fault.place(kind)?)))
    }

    /// Those on `host` itself.
    pub(crate) fn on_host(&self, host: &str) -> impl Iterator<Item = &Fault> {
        self.0.iter().filter(move |fault| fault.hosts.1.is_none() && fault.hosts.0 == host)
    }
}

impl Fault {
    fn begun(number: usize, fault: &sim::Fault, from: Duration) -> Self {
        let (a, b) = fault.what.hosts();
        let hosts = (a.to_owned(), b.map(str::to_owned));
        let latency = match fault.what {
            FaultKind::SlowLink { latency, .. } => latency,
            _ => Duration::ZERO,
        };
        let family = fault.what.name().to_owned();
        Self { family, hosts, from, until: None, has_left: false, latency, number }
    }

    /// A host whose power is back, but not its process, still says nothing on the connections that it had: it
    /// counts as dark until it starts.
    fn end(&mut self, at: Duration) {
        if self.family != POWER_LOSS {
            self.until = Some(at);
        }
    }

    /// Whether it was in force at some time between the two, or had ended no longer than `after` before.
    pub(crate) fn is_felt(&self, between: (Duration, Duration), after: Duration) -> bool {
        let (start, end) = between;
        self.from <= end && self.until.is_none_or(|until| until.saturating_add(after) >= start)
    }

    /// How long after its end segments still arrive that it held up.
    pub(crate) fn backlog(&self) -> Duration {
        /// The retransmission timeout of a sender that has not lost anything yet.
        const TIMEOUT: Duration = Duration::from_millis(200);
        match self.family.as_str() {
            // Timeouts double until one passes: at most as long again as it lasted, and the first one.
            "partition" | "partition-one-way" => {
                self.until.map_or(Duration::MAX, |until| until - self.from + TIMEOUT)
            }
            "slow-link" => self.latency,
            _ => Duration::ZERO,
        }
    }

    /// The host, or the first end of the link.
    pub(crate) fn host(&self) -> &str {
        &self.hosts.0
    }

    /// Whether it keeps hosts from hearing of each other in time.
    pub(crate) fn delays(&self) -> bool {
        const DELAYS: &[&str] =
            &["partition", "partition-one-way", "hold", "slow-link", "pause", "power-loss"];
        DELAYS.contains(&&*self.family)
    }

    fn place(&self, kind: &str) -> Option<Place> {
        let of_host = |host: &str| match (kind, host) {
            ("name", "service2") | (_, CLIENTS) => None,
            ("name", _) | (_, "service2") => Some(Place::Edge),
            _ => Some(Place::Inside),
        };
        match (self.hosts.0.as_str(), self.hosts.1.as_deref()) {
            (host, None) => of_host(host),
            (CLIENTS, Some(edge)) | (edge, Some(CLIENTS)) => {
                of_host(edge).filter(|place| *place == Place::Edge)
            }
            _ => (kind != "name").then_some(Place::Inside),
        }
    }
}
