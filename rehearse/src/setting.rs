//! What clients and checks know of a scenario: its graph, its sorts of calls, its limits and times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::Request;
use transport::Limits;
use transport::policy::Breaker;

use crate::graph::Graph;
use crate::load::{Kind, Via};
use crate::said::Log;
use crate::strangers::Stranger;

/// How long a node waits for the answer of a name.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What all rehearsals of a scenario have in common.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) graph: Graph,
    /// The hosts that a call may come to, by the service that the client calls.
    pub(crate) ways: BTreeMap<&'static str, BTreeSet<String>>,
    pub(crate) kinds: Arc<[Kind]>,
    /// The clients beside those of the load that are scripts.
    pub(crate) strangers: Arc<[Stranger]>,
    /// Whether gRPC clients say how long they are willing to wait.
    pub(crate) says_timeouts: bool,
    /// Whether clients ask for the health of nodes.
    pub(crate) checks_health: bool,
    /// Whether nodes tell what they hold while calls are made, too.
    pub(crate) reads_gauges: bool,
    /// What logs are to have, where they are looked at.
    pub(crate) log: Option<Log>,
    /// Services of which there is one in a node, for all its workers.
    pub(crate) in_node: Vec<&'static str>,
    /// Services of which calls go by a key: each has its home, whoever else is there.
    pub(crate) by_key: Vec<&'static str>,
    /// The hosts that let a connection carry few calls at a time: their callers have several, beside each other.
    pub(crate) of_several_connections: Vec<String>,
    /// How many calls a client may have out, to the services of whose policies that is said.
    pub(crate) max_in_flight: BTreeMap<&'static str, InFlight>,
    /// Whether services are found by names.
    pub(crate) by_names: bool,
    /// The services whose callees are asked whether they serve.
    pub(crate) health_checked: BTreeMap<&'static str, ()>,
    /// When the breakers of clients open, to the services of whose policies that is said.
    pub(crate) breakers: BTreeMap<&'static str, Breaker>,
    pub(crate) limits: Limits,
    /// What a call has that comes without a deadline.
    pub(crate) deadline: Duration,
    /// How long a node waits for an answer to a PING.
    pub(crate) silence: Duration,
    /// How long a node waits for the SETTINGS of who has accepted its connection.
    pub(crate) greeting: Duration,
    /// How long a connection of a node is silent, while calls wait on it, before it is pinged.
    pub(crate) ping_after: Duration,
    /// How long a node goes on as before when it is told to drain.
    pub(crate) drain_delay: Duration,
    /// The longest that a node may take to drain after that.
    pub(crate) drain_timeout: Duration,
    /// How many workers each node has: each has connections of its own.
    pub(crate) workers: u16,
    /// Hosts take their turns within a tick one after the other, each with the tick before it: of what two of them
    /// do in the same one, either may be told first.
    pub(crate) tick: Duration,
    /// The longest that a segment takes over a healthy link.
    pub(crate) latency_max: Duration,
    /// By how much a busy machine may hold up a process; nothing in a simulated world.
    pub(crate) held_up: Duration,
}

/// How many calls a client may have out to a service: a number, or one that adapts between these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl Setting {
    /// The sort of call that `request` is.
    pub(crate) fn kind(&self, request: &Request) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.is_of(request))
    }

    /// The stranger of this title.
    pub(crate) fn stranger(&self, title: &str) -> Option<&Stranger> {
        self.strangers.iter().find(|stranger| stranger.title() == title)
    }

    /// One segment from one host to the next over a healthy link: it waits for the end of a tick at last.
    pub(crate) fn hop(&self) -> Duration {
        self.tick + self.latency_max + self.held_up
    }

    /// Whether the hosts are processes, which tell less of themselves than simulated ones.
    pub(crate) fn is_of_processes(&self) -> bool {
        !self.held_up.is_zero()
    }

    /// How long it takes at most to find that nobody answers on a connection on which calls wait.
    pub(crate) fn found_dead(&self) -> Duration {
        self.ping_after + self.silence
    }

    /// How long a node waits at most to hear where a name leads, if it knows any.
    pub(crate) fn answer_wait(&self) -> Duration {
        if self.by_names { ANSWER_WAIT } else { Duration::ZERO }
    }

    /// The longest that a node may take to leave when it is told to drain.
    pub(crate) fn leaves_within(&self) -> Duration {
        self.drain_delay + self.drain_timeout
    }

    /// How many connections `host` may have to `callee` at once: one on each worker for each service of its own and
    /// each that this one calls there.
    pub(crate) fn lines(&self, host: &str, callee: &str) -> usize {
        let callers = self.graph.services_on(host).iter();
        let callees = callers.flat_map(|service| self.graph.callees(service));
        let there =
            callees.filter(|service| !self.graph.is_on(service, host) && self.graph.is_on(service, callee));
        there.count() * usize::from(self.workers)
    }

    /// Whether two hosts have the same service among those that `host` calls there.
    pub(crate) fn are_alike(&self, host: &str, one: &str, other: &str) -> bool {
        let callers = self.graph.services_on(host).iter();
        let mut callees = callers.flat_map(|service| self.graph.callees(service));
        callees.any(|service| self.graph.is_on(service, one) && self.graph.is_on(service, other))
    }

    /// The deadline that `request` comes with: a REST client says nothing of its own, so the node's is in force.
    pub(crate) fn given(&self, request: &Request) -> Duration {
        match self.kind(request) {
            Some(kind) if kind.via == Via::Rest => self.deadline,
            Some(kind) if !self.says_timeouts && kind.is_streaming => Duration::MAX,
            Some(_) if !self.says_timeouts => self.deadline,
            Some(_) | None => request.deadline,
        }
    }

    /// The services that clients call.
    pub(crate) fn entries(&self) -> Vec<&str> {
        self.kinds.iter().map(|kind| kind.service).collect()
    }
}
