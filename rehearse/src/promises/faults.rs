//! Which faults there are, where and since when, and how long they are felt.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, FaultKind, Wants, What};

use crate::facts::{NodeStarted, NodeStopped};
use crate::setting::Setting;

/// All faults so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// One fault, from when it began to when it ended.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) family: Family,
    pub(super) from: Duration,
    /// When it ended; `None` while it is in force.
    pub(super) until: Option<Duration>,
    /// Whether the host had drained and left when it ended. One that had not was killed.
    pub(super) has_left: bool,
    /// The host, or the first end of the link.
    pub(super) host: Arc<str>,
    /// The other end of the link.
    other: Option<Arc<str>>,
    /// How long a segment takes over a slow link.
    latency: Duration,
    /// Its index in the plan's list of faults.
    number: usize,
}

impl Faults {
    /// What it must be told of.
    pub(super) fn wants() -> Wants {
        Wants::nothing().fact::<NodeStarted>().fact::<NodeStopped>()
    }

    /// Takes note of `event`, if it tells of a fault or of what became of its host.
    pub(super) fn note(&mut self, event: &Event) {
        match &event.what {
            What::FaultBegins { number, fault } => self.0.push(Fault::new(*number, &fault.what, event.at)),
            What::FaultEnds { number, .. } => {
                let ended = self.0.iter_mut().filter(|fault| fault.number == *number);
                ended.for_each(|fault| fault.end(event.at));
            }
            // What a node tells of its own life belongs to no request.
            What::Told(_) if self.0.is_empty() || event.request_id.is_some() => {}
            What::Told(_) if event.told::<NodeStarted>().is_some() => {
                self.in_force_on(&event.host, Family::PowerLoss)
                    .for_each(|fault| fault.until = Some(event.at));
            }
            What::Told(_) if event.told::<NodeStopped>().is_some() => {
                self.in_force_on(&event.host, Family::Drain).for_each(|fault| fault.has_left = true);
            }
            _ => {}
        }
    }

    fn in_force_on(&mut self, host: &str, family: Family) -> impl Iterator<Item = &mut Fault> {
        let here = self.0.iter_mut().filter(move |fault| fault.is_on(host) && fault.family == family);
        here.filter(|fault| fault.until.is_none())
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// Those on `host` itself.
    pub(super) fn on_host(&self, host: &str) -> impl Iterator<Item = &Fault> {
        self.0.iter().filter(move |fault| fault.is_on(host))
    }
}

impl Fault {
    fn new(number: usize, what: &FaultKind, from: Duration) -> Self {
        let (host, other) = what.hosts();
        let latency = if let FaultKind::SlowLink { latency, .. } = what { *latency } else { Duration::ZERO };
        let (host, other) = (host.into(), other.map(Arc::from));
        Self { family: what.family(), from, until: None, has_left: false, host, other, latency, number }
    }

    /// A host whose power is back, but not its process, still says nothing on the connections that it had: it
    /// counts as dark until it starts.
    fn end(&mut self, at: Duration) {
        if self.family != Family::PowerLoss {
            self.until = Some(at);
        }
    }

    /// Whether it is of `host` itself.
    pub(super) fn is_on(&self, host: &str) -> bool {
        self.other.is_none() && *self.host == *host
    }

    /// Whether it is of the link between the two.
    pub(super) fn is_between(&self, one: &str, other: &str) -> bool {
        self.other
            .as_deref()
            .is_some_and(|end| *self.host == *one && end == other || *self.host == *other && end == one)
    }

    /// Whether it is of a host, and not of a link.
    pub(super) fn is_of_host(&self) -> bool {
        self.other.is_none()
    }

    /// Whether it is of `host`, or of a link that ends there.
    pub(super) fn is_at(&self, host: &str) -> bool {
        *self.host == *host || self.other.as_deref() == Some(host)
    }

    /// Whether it was in force at some time between the two, or had ended no longer than `after` before.
    pub(super) fn is_felt(&self, between: (Duration, Duration), after: Duration) -> bool {
        let (start, end) = between;
        self.from <= end && self.until.is_none_or(|until| until.saturating_add(after) >= start)
    }

    /// How long after its end segments still arrive that it held up.
    pub(super) fn backlog(&self) -> Duration {
        /// The retransmission timeout of a sender that has not lost anything yet.
        const TIMEOUT: Duration = Duration::from_millis(200);
        match self.family {
            // Timeouts double until one passes: at most as long again as it lasted, and the first one.
            Family::Partition | Family::PartitionOneWay => {
                self.until.map_or(Duration::MAX, |until| until - self.from + TIMEOUT)
            }
            Family::SlowLink => self.latency,
            _ => Duration::ZERO,
        }
    }

    /// How long after its end who asks a host may feel it: until what it held up has arrived, a PING has stayed unanswered,
    /// and word of that has gone there and back.
    pub(super) fn felt_after(&self, setting: &Setting) -> Duration {
        self.backlog().saturating_add(setting.silence + setting.hop() * 2)
    }

    /// How much of the time between the two nothing could pass because of it, or what it had held up arrived.
    pub(super) fn overlap(&self, (start, end): (Duration, Duration)) -> Duration {
        let until = self.until.map_or(end, |until| until.saturating_add(self.backlog()).min(end));
        until.saturating_sub(self.from.max(start))
    }

    /// Whether nothing passes while it is in force, and what was sent arrives later.
    pub(super) fn blocks(&self) -> bool {
        use Family::{Hold, Partition, PartitionOneWay, Pause};
        matches!(self.family, Partition | PartitionOneWay | Hold | Pause)
    }

    /// Whether by `now` it has kept all who wait since then for a word so long that they have pinged in vain and given
    /// up, which takes `found_dead`.
    pub(super) fn was_found(&self, (since, now): (Duration, Duration), found_dead: Duration) -> bool {
        let is_one_way = self.family == Family::PartitionOneWay;
        if !self.blocks() && self.family != Family::PowerLoss {
            return false;
        }
        // Where words still come from one side, it is that one which finds out first, and hangs up.
        let found = since.max(self.from) + if is_one_way { found_dead * 2 } else { found_dead };
        now > found && self.until.is_none_or(|until| until >= found)
    }

    /// Whether it keeps hosts from hearing of each other in time.
    pub(super) fn delays(&self) -> bool {
        use Family::{Hold, Partition, PartitionOneWay, Pause, PowerLoss, SlowLink};
        matches!(self.family, Partition | PartitionOneWay | Hold | SlowLink | Pause | PowerLoss)
    }

    /// Whether it can keep hosts from connecting to each other.
    pub(super) fn cuts_off(&self) -> bool {
        self.delays() || matches!(self.family, Family::Reset | Family::Kill | Family::Drain)
    }

    /// Whether it was a drain that its host had not left when it ended: then the host was killed.
    pub(super) fn was_killed(&self) -> bool {
        self.family == Family::Drain && self.until.is_some() && !self.has_left
    }

    /// Whether it is a drain whose time, `timeout`, is over by then: what has not ended is cut off.
    pub(super) fn is_out_of_time(&self, timeout: Duration, now: Duration) -> bool {
        self.family == Family::Drain && self.from + timeout <= now
    }

    /// Whether the process of its host ended when it began, or, of a drain, when that ended.
    pub(super) fn takes_down_at(&self, now: Duration) -> bool {
        match self.family {
            Family::Kill | Family::PowerLoss => self.from == now || self.until == Some(now),
            Family::Drain => self.until == Some(now),
            _ => false,
        }
    }
}

/// What it is, where, and when, in words.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.family.name(), self.host)?;
        if let Some(other) = &self.other {
            write!(f, " and {other}")?;
        }
        write!(f, " from {} ms", self.from.as_millis())?;
        match self.until {
            Some(until) => write!(f, " to {} ms", until.as_millis()),
            None => f.write_str(" on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_waits_in_vain_for_long_enough_has_found_it() {
        let what = FaultKind::Partition { a: "one".to_owned(), b: "two".to_owned() };
        let mut fault = Fault::new(0, &what, 100 * MS);
        assert!(!fault.was_found((Duration::ZERO, 300 * MS), 300 * MS), "that was 200 ms");
        assert!(fault.was_found((Duration::ZERO, 401 * MS), 300 * MS));
        assert!(!fault.was_found((150 * MS, 401 * MS), 300 * MS), "they waited since 150 ms only");
        fault.end(390 * MS);
        assert!(!fault.was_found((Duration::ZERO, 401 * MS), 300 * MS), "it was over just before");
    }

    #[test]
    fn what_a_fault_held_up_arrives_after_it() {
        let what = FaultKind::Hold { a: "one".to_owned(), b: "two".to_owned() };
        let mut fault = Fault::new(0, &what, 100 * MS);
        fault.end(200 * MS);
        assert_eq!(fault.overlap((150 * MS, 300 * MS)), 50 * MS);
        assert_eq!(fault.overlap((210 * MS, 300 * MS)), Duration::ZERO);
        assert_eq!(fault.to_string(), "hold of one and two from 100 ms to 200 ms");
    }
}
