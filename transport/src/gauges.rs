//! What a node holds at the moment: operators read it, and rehearsals demand that it is at rest in the end.
//!
//! Who holds something is asked when somebody reads, so that the way of a call pays for no more than a count, and where
//! a map or a limit keeps one anyway, for nothing. This file knows none of those who are asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What there is a number of. The order is that in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    /// Connections that were accepted and are open, by edge; without those that are silent.
    ConnectionsOpen,
    /// Connections that were accepted and have not begun to speak HTTP/2, which they may not do for long, by edge.
    ConnectionsSilent,
    /// Calls that an edge is at, by edge.
    CallsInFlight,
    /// Permits that are taken, by service and by what they are for: calls, streams, background.
    PermitsTaken,
    /// Handlers that have begun and are neither done nor dropped, by service.
    HandlersRunning,
    /// Streamed answers that have not ended, by service and side: the answer, or the source of its messages.
    StreamsOpen,
    /// Actors with a key of their own, by service.
    KeyedActors,
    /// Actors with a key of their own that have no call, by service.
    KeyedActorsIdle,
    /// Calls to another service whose answer has not begun, by callee.
    CalleeCallsInFlight,
    /// Calls to another service that wait until it is connected, by callee.
    CalleeCallsWaiting,
    /// Connections to another service that are open, by callee.
    CalleeConnectionsOpen,
    /// Addresses of another service, by callee and by how things stand: idle, connecting, ready, backoff, not serving
    /// where it says so itself, and ejected where its calls failed one after the other.
    CalleeAddresses,
    /// Breakers of calls to another service, by callee and by how things stand: closed, open, and probing where one call
    /// finds out whether it works again.
    CalleeBreakers,
    /// The calls to another service that `max-in-flight` of its policy counts, by callee: those that are there (taken), and
    /// the most that there may be.
    CalleeLimit,
    /// Bytes that workers hold for clients: heads of calls, bodies of requests, answers that are not read yet.
    BufferedBytes,
    /// Idempotency keys, by state: of calls that are being handled, of answers that are remembered, and of calls that an
    /// earlier process began and of which nobody knows what they came to.
    IdempotencyKeys,
    /// Bytes of the calls and answers that are remembered for idempotency keys.
    IdempotencyBytes,
    /// Connections and background work that a drain would wait for.
    DrainWaitsFor,
    /// Tasks that go on beside calls and are counted nowhere else, by whose they are, a callee or a service, and by what they
    /// do. For a callee: connecting, resolving its name, closing a connection that is not needed, watching whether it serves.
    /// For a service: acting for a key. For the node's memory of idempotency keys: forgetting them.
    Tasks,
}

// A gauge that is missing in `Gauge::ALL` would be in `/metrics`, and those who parse it would not know the name.
const _: () = assert!(Gauge::ALL.len() == Gauge::Tasks as usize + 1, "every gauge is listed");

impl Gauge {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::ConnectionsOpen,
        Self::ConnectionsSilent,
        Self::CallsInFlight,
        Self::PermitsTaken,
        Self::HandlersRunning,
        Self::StreamsOpen,
        Self::KeyedActors,
        Self::KeyedActorsIdle,
        Self::CalleeCallsInFlight,
        Self::CalleeCallsWaiting,
        Self::CalleeConnectionsOpen,
        Self::CalleeAddresses,
        Self::CalleeBreakers,
        Self::CalleeLimit,
        Self::BufferedBytes,
        Self::IdempotencyKeys,
        Self::IdempotencyBytes,
        Self::DrainWaitsFor,
        Self::Tasks,
    ];

    /// Its name in the text format of Prometheus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionsOpen => "rehearsal_connections_open",
            Self::ConnectionsSilent => "rehearsal_connections_silent",
            Self::CallsInFlight => "rehearsal_calls_in_flight",
            Self::PermitsTaken => "rehearsal_permits_taken",
            Self::HandlersRunning => "rehearsal_handlers_running",
            Self::StreamsOpen => "rehearsal_streams_open",
            Self::KeyedActors => "rehearsal_keyed_actors",
            Self::KeyedActorsIdle => "rehearsal_keyed_actors_idle",
            Self::CalleeCallsInFlight => "rehearsal_callee_calls_in_flight",
            Self::CalleeCallsWaiting => "rehearsal_callee_calls_waiting",
            Self::CalleeConnectionsOpen => "rehearsal_callee_connections_open",
            Self::CalleeAddresses => "rehearsal_callee_addresses",
            Self::CalleeBreakers => "rehearsal_callee_breakers",
            Self::CalleeLimit => "rehearsal_callee_limit",
            Self::BufferedBytes => "rehearsal_buffered_bytes",
            Self::IdempotencyKeys => "rehearsal_idempotency_keys",
            Self::IdempotencyBytes => "rehearsal_idempotency_bytes",
            Self::DrainWaitsFor => "rehearsal_drain_waits_for",
            Self::Tasks => "rehearsal_tasks",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::ConnectionsOpen => "Connections that were accepted and are open.",
            Self::ConnectionsSilent => "Connections that were accepted and have not begun to speak HTTP/2.",
            Self::CallsInFlight => "Calls that an edge is at.",
            Self::PermitsTaken => {
                "Permits of a service that are taken; --max-calls and --max-streams are the most."
            }
            Self::HandlersRunning => "Handlers that have begun and are neither done nor dropped.",
            Self::StreamsOpen => "Streamed answers that have not ended, and the sources of their messages.",
            Self::KeyedActors => "Actors with a key of their own.",
            Self::KeyedActorsIdle => "Actors with a key of their own that have no call.",
            Self::CalleeCallsInFlight => "Calls to another service whose answer has not begun.",
            Self::CalleeCallsWaiting => {
                "Calls to another service that wait until it is connected, or a connection has room."
            }
            Self::CalleeConnectionsOpen => "Connections to another service that are open.",
            Self::CalleeAddresses => {
                "Addresses of another service, by the state of the connection to each; not serving if it says so, ejected if its calls fail."
            }
            Self::CalleeBreakers => "Breakers of calls to another service, by how they stand.",
            Self::CalleeLimit => {
                "Calls to another service that max-in-flight counts: taken, and the most on all workers."
            }
            Self::BufferedBytes => {
                "Bytes that are held for clients; --max-buffered are the most on each worker."
            }
            Self::IdempotencyKeys => "Idempotency keys; --max-idempotency-keys are the most of all states.",
            Self::IdempotencyBytes => {
                "Bytes remembered for idempotency keys; --max-idempotency-bytes are the most."
            }
            Self::DrainWaitsFor => "Connections and background work that a drain would wait for.",
            Self::Tasks => "Tasks that go on beside calls, by whose they are and by what they do.",
        }
    }

    /// The names of its labels.
    fn labels(self) -> &'static [&'static str] {
        match self {
            Self::ConnectionsOpen | Self::ConnectionsSilent | Self::CallsInFlight => &["edge"],
            Self::PermitsTaken => &["service", "for"],
            Self::StreamsOpen => &["service", "side"],
            Self::HandlersRunning | Self::KeyedActors | Self::KeyedActorsIdle => &["service"],
            Self::CalleeCallsInFlight | Self::CalleeCallsWaiting | Self::CalleeConnectionsOpen => &["callee"],
            Self::CalleeAddresses | Self::CalleeBreakers => &["callee", "state"],
            Self::CalleeLimit => &["callee", "what"],
            Self::IdempotencyKeys => &["state"],
            Self::Tasks => &["of", "doing"],
            Self::BufferedBytes | Self::IdempotencyBytes | Self::DrainWaitsFor => &[],
        }
    }
}

/// The gauges of a node, for all of its workers. Clones are the same.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<Vec<Weak<dyn Holds>>>>);

/// Something that holds what there is a gauge of.
pub(crate) trait Holds: Send + Sync {
    /// Adds what it holds at the moment.
    fn tell(&self, reading: &mut Reading);
}

impl Gauges {
    /// Gauges of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `holder`, too, for as long as it is there.
    pub(crate) fn watch<H: Holds + 'static>(&self, holder: &Arc<H>) {
        let holder: Weak<H> = Arc::downgrade(holder);
        self.holders().push(holder);
    }

    /// What all hold at the moment.
    #[must_use]
    pub fn read(&self) -> Reading {
        // Asked outside of the lock: a holder that goes meanwhile may be the last of its worker.
        let holders: Vec<_> = self.holders().iter().filter_map(Weak::upgrade).collect();
        let mut reading = Reading::default();
        holders.iter().for_each(|holder| holder.tell(&mut reading));
        reading
    }

    fn holders(&self) -> MutexGuard<'_, Vec<Weak<dyn Holds>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

/// What a node held at one moment. Printed, it is the text format of Prometheus
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading(BTreeMap<Sample, usize>);

/// What a number of a [`Reading`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// The gauge.
    pub gauge: Gauge,
    /// The edge, the service or the callee; empty where the gauge has no labels.
    pub of: &'static str,
    /// What else its labels say; empty where it has no second one.
    pub what: &'static str,
}

impl Reading {
    /// The content type of the text that this is printed as.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// One worker's share.
    pub(crate) fn add(&mut self, gauge: Gauge, of: &'static str, what: &'static str, count: usize) {
        *self.0.entry(Sample { gauge, of, what }).or_default() += count;
    }

    /// All that there is a number of, and the number.
    pub fn samples(&self) -> impl Iterator<Item = (Sample, usize)> {
        self.0.iter().map(|(sample, count)| (*sample, *count))
    }

    /// The sum of all samples of a gauge.
    #[must_use]
    pub fn sum(&self, gauge: Gauge) -> usize {
        self.samples().filter(|(sample, _)| sample.gauge == gauge).map(|(_, count)| count).sum()
    }

    /// The number of a sample, 0 if there is none.
    #[must_use]
    pub fn count(&self, gauge: Gauge, of: &str, what: &str) -> usize {
        let mut samples = self.samples();
        let found = samples.find(|(known, _)| (known.gauge, known.of, known.what) == (gauge, of, what));
        found.map_or(0, |(_, count)| count)
    }
}

/// A reading that was taken elsewhere.
impl FromIterator<(Sample, usize)> for Reading {
    fn from_iter<I: IntoIterator<Item = (Sample, usize)>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (sample, count) in self.samples() {
            let name = sample.gauge.name();
            if last.replace(sample.gauge) != Some(sample.gauge) {
                writeln!(f, "# HELP {name} {}\n# TYPE {name} gauge", sample.gauge.help())?;
            }
            writeln!(f, "{sample} {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.gauge.name())?;
        for (at, (label, value)) in self.gauge.labels().iter().zip([self.of, self.what]).enumerate() {
            write!(f, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' })?;
        }
        f.write_str(if self.gauge.labels().is_empty() { "" } else { "}" })
    }
}

/// How many of something there are. Whoever reads may be on another thread.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

/// One that is counted for as long as it lives.
#[derive(Debug)]
#[must_use = "it is counted no longer than it lives"]
pub(crate) struct One<'a>(&'a Count);

impl Count {
    pub(crate) fn one(&self) -> One<'_> {
        self.add();
        One(self)
    }

    /// For where [`One`] cannot stand: whatever adds one takes it away again when it is dropped.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take_away(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds one unless there are `most`; whether it did.
    pub(crate) fn add_below(&self, most: usize) -> bool {
        let one_more = |count| (count < most).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.take_away();
    }
}

/// The edges, as they stand in labels.
pub(crate) const REST: &str = "rest";
pub(crate) const GRPC: &str = "grpc";

/// What one edge of one worker is at.
#[derive(Debug)]
pub(crate) struct EdgeCounts {
    edge: &'static str,
    pub(crate) connections: Count,
    /// Connections over which HTTP/2 was not spoken yet; none at the REST edge.
    pub(crate) silent: Count,
    pub(crate) calls: Count,
}

impl EdgeCounts {
    pub(crate) fn of(edge: &'static str, gauges: &Gauges) -> Arc<Self> {
        let (connections, silent, calls) = Default::default();
        let counts = Arc::new(Self { edge, connections, silent, calls });
        gauges.watch(&counts);
        counts
    }
}

impl Holds for EdgeCounts {
    fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::ConnectionsOpen, self.edge, "", self.connections.get());
        if self.edge == GRPC {
            reading.add(Gauge::ConnectionsSilent, self.edge, "", self.silent.get());
        }
        reading.add(Gauge::CallsInFlight, self.edge, "", self.calls.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_the_sum_over_all_who_hold_something_and_are_still_there() {
        let gauges = Gauges::new();
        let (one, other) = (EdgeCounts::of(REST, &gauges), EdgeCounts::of(REST, &gauges));
        let gone = EdgeCounts::of(GRPC, &gauges);
        let (_a, _b, _c) = (one.calls.one(), one.calls.one(), other.calls.one());
        drop(other.connections.one());
        drop(gone);
        let text = "# HELP rehearsal_connections_open Connections that were accepted and are open.\n\
            # TYPE rehearsal_connections_open gauge\n\
            rehearsal_connections_open{edge=\"rest\"} 0\n\
            # HELP rehearsal_calls_in_flight Calls that an edge is at.\n\
            # TYPE rehearsal_calls_in_flight gauge\n\
            rehearsal_calls_in_flight{edge=\"rest\"} 3\n";
        assert_eq!(gauges.read().to_string(), text);
    }

    #[test]
    fn labels_stand_after_the_name_if_there_are_any() {
        let of = |gauge, of, what| Sample { gauge, of, what }.to_string();
        assert_eq!(of(Gauge::DrainWaitsFor, "", ""), "rehearsal_drain_waits_for");
        let permits = "rehearsal_permits_taken{service=\"orders\",for=\"streams\"}";
        assert_eq!(of(Gauge::PermitsTaken, "orders", "streams"), permits);
    }
}
