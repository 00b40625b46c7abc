//! What must hold in the end: a node holds nothing any more for calls that have ended.
//!
//! What it holds are the gauges that operators read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Eventual, Request, Wants};
use transport::Contract as _;
use transport::gauges::{Gauge, Reading, Sample};
use transport::health::Health;

use crate::clients;
use crate::facts::{GaugesRead, NodeStarted, NodeStopped};
use crate::load::Via;
use crate::setting::Setting;

/// How long a connection lingers that was drained, and how long what is left takes besides: turns, and the way of a
/// last word.
const LINGER: Duration = Duration::from_secs(2);

/// How long work that outlives its call may take.
pub(super) const WORK_ENDS: Duration = Duration::from_secs(60);

/// How long after the last reply nodes without such work may still hold something: until the deadline of a call whose
/// caller has gone, and until a connection that is half open was found; or until a lost question to a name is given up.
pub(super) fn soon(setting: &Setting) -> Duration {
    (setting.deadline + setting.silence * 3 + LINGER).max(setting.answer_wait() + LINGER)
}

/// The most that is held for one who asks whether a node serves, in bytes: the head of that.
const WATCH_BYTES_MAX: usize = 1024;

/// Every node comes to rest.
#[derive(Debug)]
pub(super) struct ComesToRest {
    setting: Arc<Setting>,
    /// Whether work that outlives its call is waited for. Where it is not, nodes are not judged that have some.
    is_patient: bool,
    /// What each node that runs has told, by its host.
    nodes: BTreeMap<Arc<str>, Option<Reading>>,
    /// Whether any node had work that outlives its call.
    has_work: bool,
    /// When each request over HTTP/1.1 began and ended, by its host and its client.
    requests: BTreeMap<(String, String), Vec<(Duration, Duration)>>,
    met: u64,
}

impl ComesToRest {
    pub(super) fn soon(setting: &Arc<Setting>) -> Self {
        Self::new(setting, false)
    }

    pub(super) fn patient(setting: &Arc<Setting>) -> Self {
        Self::new(setting, true)
    }

    fn new(setting: &Arc<Setting>, is_patient: bool) -> Self {
        let (nodes, requests) = (BTreeMap::new(), BTreeMap::new());
        Self { setting: Arc::clone(setting), is_patient, nodes, has_work: false, requests, met: 0 }
    }

    /// What is left on `host`, and what was expected there.
    fn left(&self, host: &str, reading: &Reading) -> Vec<String> {
        let judged = reading.samples().filter_map(|(sample, count)| {
            let most = self.most(host, reading, sample);
            (count > most).then(|| told(reading, sample, count, most))
        });
        judged.collect()
    }

    /// The most that a node at rest has of a sample.
    fn most(&self, host: &str, reading: &Reading, sample: Sample) -> usize {
        let watches = reading.count(Gauge::StreamsOpen, Health::NAME, "answer");
        match sample.gauge {
            // Others ask whether it serves, on their connections, for as long as there are these.
            Gauge::PermitsTaken | Gauge::HandlersRunning | Gauge::StreamsOpen
                if sample.of == Health::NAME && sample.what != "calls" =>
            {
                self.connections_to(host)
            }
            Gauge::CallsInFlight if sample.of == "grpc" => watches,
            Gauge::BufferedBytes => watches * WATCH_BYTES_MAX,
            Gauge::CallsInFlight
            | Gauge::PermitsTaken
            | Gauge::HandlersRunning
            | Gauge::StreamsOpen
            | Gauge::CalleeCallsInFlight
            | Gauge::CalleeCallsWaiting => 0,
            Gauge::ConnectionsOpen if sample.of == "rest" => self.requests_at_once(host),
            Gauge::ConnectionsOpen => self.connections_to(host),
            Gauge::KeyedActors => reading.count(Gauge::KeyedActorsIdle, sample.of, ""),
            Gauge::KeyedActorsIdle => reading.count(Gauge::KeyedActors, sample.of, ""),
            Gauge::CalleeConnectionsOpen => {
                let addresses = |state| reading.count(Gauge::CalleeAddresses, sample.of, state);
                addresses("ready") + addresses("connecting") + addresses("ejected") + addresses("not serving")
            }
            Gauge::DrainWaitsFor => {
                reading.sum(Gauge::ConnectionsOpen) + reading.sum(Gauge::ConnectionsSilent)
            }
            Gauge::CalleeLimit if sample.what == "taken" => 0,
            // What there may be is no call; and a breaker is closed by the next one, if there is any.
            Gauge::CalleeLimit | Gauge::CalleeBreakers => usize::MAX,
            Gauge::IdempotencyKeys if sample.of == "running" => 0,
            Gauge::IdempotencyBytes if reading.sum(Gauge::IdempotencyKeys) == 0 => 0,
            // Answers are remembered for their time, with nobody at work on them.
            Gauge::IdempotencyKeys | Gauge::IdempotencyBytes => usize::MAX,
            Gauge::Tasks => Self::tasks(reading, sample),
            // Connecting ends by itself, and takes what it takes. So does waiting for the first word of a client,
            // which may have died since.
            Gauge::CalleeAddresses | Gauge::ConnectionsSilent => usize::MAX,
        }
    }

    /// The tasks that stay: those for what is there by another gauge.
    fn tasks(reading: &Reading, Sample { of, what, .. }: Sample) -> usize {
        match what {
            // They end by themselves, as their addresses do.
            "connecting" => usize::MAX,
            "watching" => reading.count(Gauge::CalleeConnectionsOpen, of, ""),
            "acting" => reading.count(Gauge::KeyedActors, of, ""),
            "forgetting" => reading.sum(Gauge::IdempotencyKeys).min(1),
            // Questions to names, and waits until a connection is idle.
            _ => 0,
        }
    }

    /// The gRPC connections that others have to `host`: the client's one, and those of nodes to its services.
    fn connections_to(&self, host: &str) -> usize {
        let services = self.setting.graph.services_on(host);
        let others = self.nodes.iter().filter(|(other, _)| &***other != host);
        let readings = others.filter_map(|(_, reading)| reading.as_ref());
        let to_services = |reading: &Reading| -> usize {
            services.iter().map(|service| reading.count(Gauge::CalleeConnectionsOpen, service, "")).sum()
        };
        1 + readings.map(to_services).sum::<usize>()
    }

    /// The most requests that each client had to `host` at any one time over HTTP/1.1. Each may have opened a
    /// connection, which is kept for the next.
    fn requests_at_once(&self, host: &str) -> usize {
        let of_clients = self.requests.iter().filter(|((to, _), _)| to == host);
        of_clients.map(|(_, spans)| at_once(spans)).sum()
    }

    /// The host that a request over HTTP/1.1 goes to.
    fn target<'a>(&'a self, request: &'a Request) -> Option<&'a str> {
        match self.setting.kind(request) {
            Some(kind) if kind.via == Via::Rest => self.setting.graph.entry(kind.service, request.id),
            Some(_) => None,
            None => clients::asked(request).map(|(_, host)| host),
        }
    }
}

impl Eventual for ComesToRest {
    fn wants(&self) -> Wants {
        Wants::nothing().fact::<NodeStarted>().fact::<NodeStopped>().fact::<GaugesRead>()
    }

    fn event(&mut self, event: &Event) {
        if event.told::<NodeStarted>().is_some() {
            self.nodes.insert(Arc::clone(&event.host), None);
        } else if event.told::<NodeStopped>().is_some() {
            self.nodes.remove(&event.host);
        } else if let Some(GaugesRead(reading)) = event.told() {
            self.met += 1;
            let of_work = |sample: Sample| sample.gauge == Gauge::PermitsTaken && sample.what == "background";
            self.has_work |= reading.samples().any(|(sample, count)| of_work(sample) && count > 0);
            self.nodes.insert(Arc::clone(&event.host), Some(reading.clone()));
        }
    }

    fn call_ended(&mut self, call: &CallRecord) {
        let Some(host) = self.target(&call.request).map(str::to_owned) else { return };
        let spans = self.requests.entry((host, call.request.client.clone())).or_default();
        spans.push((call.started, call.ended.unwrap_or(call.started)));
    }

    fn holds(&self) -> Result<(), String> {
        if self.has_work && !self.is_patient {
            return Ok(());
        }
        let mut left = Vec::new();
        for (host, reading) in &self.nodes {
            match reading {
                Some(reading) => {
                    left.extend(self.left(host, reading).iter().map(|left| format!("{host}: {left}")));
                }
                None => left.push(format!("{host}: its gauges were not read")),
            }
        }
        if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The most of `spans` at any one time. One that ends as another begins is still there.
fn at_once(spans: &[(Duration, Duration)]) -> usize {
    let (mut begun, mut ended): (Vec<_>, Vec<_>) = spans.iter().copied().unzip();
    begun.sort_unstable();
    ended.sort_unstable();
    let mut over = 0;
    let still_there = begun.iter().enumerate().map(|(before, moment)| {
        over += ended[over..].iter().take_while(|ended| *ended < moment).count();
        before + 1 - over
    });
    still_there.max().unwrap_or_default()
}

/// What a node has too much of, in words: who has not seen the gauge knows what is meant.
fn told(reading: &Reading, sample: Sample, count: usize, most: usize) -> String {
    let Sample { gauge, of, what } = sample;
    let some = |noun| some(count, noun);
    let at_most = |which| format!("expected {most} at most, {which}");
    let none = || "expected none".to_owned();
    let (seen, expected) = match gauge {
        Gauge::CallsInFlight => (format!("{} in flight at the {of} edge", some("call")), none()),
        Gauge::PermitsTaken => {
            let permits = format!("{} of {of} {what} taken", some("permit"));
            let running = match reading.count(Gauge::HandlersRunning, of, "") {
                0 => "no handler runs".to_owned(),
                running => format!("{} running", self::some(running, "handler")),
            };
            (format!("{permits} and {running}"), none())
        }
        Gauge::HandlersRunning => (format!("{} of {of} running", some("handler")), none()),
        Gauge::StreamsOpen => (format!("{} of {of} not ended (the {what})", some("streamed answer")), none()),
        Gauge::BufferedBytes => (format!("{} held for clients", some("byte")), none()),
        Gauge::ConnectionsOpen if of == "rest" => {
            let which = "as many as there were requests at once";
            (format!("{} open at the {of} edge", some("connection")), at_most(which))
        }
        Gauge::ConnectionsOpen => {
            let which = "the client's own and those that other nodes know of";
            (format!("{} open at the {of} edge", some("connection")), at_most(which))
        }
        Gauge::ConnectionsSilent => {
            (format!("{} without a word at the {of} edge", some("connection")), at_most("for some seconds"))
        }
        Gauge::KeyedActors => {
            (format!("{} of {of}", some("keyed actor")), at_most("as many as are said to be idle"))
        }
        Gauge::KeyedActorsIdle => {
            (format!("{} of {of} said to be idle", some("keyed actor")), at_most("as many as there are"))
        }
        Gauge::CalleeCallsInFlight => (format!("{} to {of} in flight", some("call")), none()),
        Gauge::CalleeCallsWaiting => (format!("{} to {of} waiting for a connection", some("call")), none()),
        Gauge::CalleeConnectionsOpen => {
            (format!("{} to {of} open", some("connection")), at_most("one to each address that is connected"))
        }
        Gauge::CalleeAddresses => {
            (format!("{} of {of} in the state {what}", some("address")), at_most("any"))
        }
        Gauge::CalleeLimit => (format!("room for {} to {of} {what}", some("call")), none()),
        Gauge::CalleeBreakers => (format!("{} to {of} {what}", some("breaker")), at_most("any")),
        Gauge::IdempotencyKeys => (format!("{} {of}", some("idempotency key")), none()),
        Gauge::IdempotencyBytes => {
            (format!("{} remembered for idempotency keys", some("byte")), at_most("as many as keys take"))
        }
        Gauge::DrainWaitsFor => {
            let which = "as many as there are connections";
            (format!("a drain would wait for {}", some("thing")), at_most(which))
        }
        Gauge::Tasks if most == 0 => (format!("{} of {of} {what}", some("task")), none()),
        Gauge::Tasks => {
            (format!("{} of {of} {what}", some("task")), at_most("one for each that it is there for"))
        }
    };
    format!("{seen} when every call has ended, {expected}")
}

fn some(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_stay_for_what_is_there_and_no_longer() {
        let of = |gauge, of, what| Sample { gauge, of, what };
        let samples = [
            (of(Gauge::CalleeConnectionsOpen, "orders", ""), 2),
            (of(Gauge::KeyedActors, "stock", ""), 3),
            (of(Gauge::IdempotencyKeys, "answered", ""), 7),
        ];
        let reading: Reading = samples.into_iter().collect();
        let stay = |name, what| ComesToRest::tasks(&reading, of(Gauge::Tasks, name, what));
        assert_eq!((stay("orders", "watching"), stay("stock", "watching")), (2, 0));
        assert_eq!((stay("stock", "acting"), stay("idempotency", "forgetting")), (3, 1));
        let over = ["resolving", "closing"].map(|what| stay("orders", what));
        assert_eq!(over, [0; 2]);
    }

    #[test]
    fn what_is_left_is_told_with_what_was_expected() {
        let permit = Sample { gauge: Gauge::PermitsTaken, of: "orders", what: "calls" };
        let expected =
            "1 permit of orders calls taken and no handler runs when every call has ended, expected none";
        assert_eq!(told(&Reading::default(), permit, 1, 0), expected);
        let connection = Sample { gauge: Gauge::CalleeConnectionsOpen, of: "orders", what: "" };
        let expected = "2 connections to orders open when every call has ended, expected 1 at most, one to each \
                        address that is connected";
        assert_eq!(told(&Reading::default(), connection, 2, 1), expected);
        let task = Sample { gauge: Gauge::Tasks, of: "orders", what: "resolving" };
        let expected = "1 task of orders resolving when every call has ended, expected none";
        assert_eq!(told(&Reading::default(), task, 1, 0), expected);
    }
}
