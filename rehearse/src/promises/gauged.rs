//! What gauges say is what goes on, and not only that nothing does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sim::{CallRecord, Event, Invariant, Wants, What};
use transport::gauges::{Gauge, Reading};

use super::names::GAUGES_TELL_WHAT_IS;
use crate::facts::{
    CallMade, CallOutcome, Connection, ConnectionStep, GaugesRead, HandlerBegun, HandlerEnded, NodeStarted,
};
use crate::setting::Setting;

/// A reading may come between the word of a handler that it begins and its gauge. So many that do, before one has told of any,
/// are chance; one more is of a gauge that sees nothing.
const MISSED_MAX: u32 = 4;

/// Where a node tells what it holds while calls are made: no less than there is.
#[derive(Debug)]
pub(super) struct GaugesTellWhatIs {
    setting: Arc<Setting>,
    nodes: BTreeMap<Arc<str>, Node>,
    is_disturbed: bool,
    met: u64,
}

/// What there is on a node, by its handlers' and its clients' own word.
#[derive(Debug, Default)]
struct Node {
    /// By service, those that are streams apart.
    handlers: BTreeMap<(&'static str, bool), usize>,
    /// Those for calls that came over the network, by request and rpc, as long as their client waits: what has an idempotency
    /// key goes on without anybody.
    entered: BTreeSet<(u32, &'static str)>,
    /// The calls to services elsewhere, as far as neither request nor answer is a stream.
    hops: BTreeSet<u32>,
    /// The connections to others that speak HTTP/2, by attempt.
    lines: BTreeSet<u32>,
    /// How many readings said that there is none of what there was, until one says that there is.
    missed: BTreeMap<Gauge, Option<u32>>,
}

impl GaugesTellWhatIs {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), nodes: BTreeMap::new(), is_disturbed: false, met: 0 }
    }
}

impl Node {
    fn note(&mut self, event: &Event, setting: &Setting) {
        if let Some(begun) = event.told::<HandlerBegun>() {
            *self.handlers.entry((begun.service, begun.is_streaming)).or_default() += 1;
            self.entered
                .extend(event.request.filter(|_| !begun.is_local).map(|request| (request, begun.path)));
        } else if let Some(ended) = event.told::<HandlerEnded>() {
            let here = self.handlers.entry((ended.service, ended.is_streaming)).or_default();
            *here = here.saturating_sub(1);
            if let Some(request) = event.request {
                self.entered.remove(&(request, ended.path));
            }
        } else if let Some(made) = event.told::<CallMade>() {
            if !made.is_streaming && !setting.graph.is_on(made.callee, &event.host) {
                self.hops.insert(made.hop);
            }
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.hops.remove(&ended.hop);
        } else if let Some(Connection { attempt, step, .. }) = event.told() {
            match step {
                ConnectionStep::Spoken => self.lines.insert(*attempt),
                ConnectionStep::Closed { .. } => self.lines.remove(attempt),
                _ => false,
            };
        }
    }

    /// What a gauge is too low for, if one is.
    fn too_low(&self, reading: &Reading, is_disturbed: bool) -> Option<String> {
        let permits = self.handlers.iter().map(|((service, is_streaming), count)| {
            let what = if *is_streaming { "streams" } else { "calls" };
            let says = reading.count(Gauge::PermitsTaken, service, what);
            (Gauge::PermitsTaken, Some((*service, what)), says, (*count, "handlers that run"))
        });
        // Of one that is lost some hear before others.
        let lines = if is_disturbed { 0 } else { self.lines.len() };
        let open = reading.sum(Gauge::ConnectionsOpen) + reading.sum(Gauge::ConnectionsSilent);
        let sums = [
            (Gauge::CalleeConnectionsOpen, (lines, "connections to callees that speak HTTP/2")),
            (Gauge::CalleeAddresses, (lines.min(1), "addresses that are connected")),
            (Gauge::DrainWaitsFor, (open, "connections of clients")),
        ];
        let sums = sums.into_iter().map(|(gauge, there)| (gauge, None, reading.sum(gauge), there));
        // Each address is connected to in a task of its own.
        let connecting = |gauge| sum_of(reading, gauge, "connecting");
        let addresses = (connecting(Gauge::CalleeAddresses), "addresses to which is connected");
        let tasks = (Gauge::Tasks, None, connecting(Gauge::Tasks), addresses);
        let mut all = permits.chain(sums).chain([tasks]);
        let (gauge, of, says, (least, what)) = all.find(|(_, _, says, (least, _))| says < least)?;
        let of = of.map_or(String::new(), |(service, what)| format!(" of {service} for {what}"));
        Some(format!("{}{of} is {says}, and there are {least} {what}", gauge.name()))
    }

    /// A gauge that says again and again that there is none of what there is.
    fn blind(&mut self, reading: &Reading) -> Option<Gauge> {
        let is_entered = !self.entered.is_empty();
        let seen = [
            (Gauge::CallsInFlight, is_entered),
            (Gauge::BufferedBytes, is_entered),
            (
                Gauge::HandlersRunning,
                self.handlers.iter().any(|((_, is_streaming), count)| !is_streaming && *count > 0),
            ),
            (Gauge::CalleeCallsInFlight, !self.hops.is_empty()),
        ];
        for (gauge, _) in seen.into_iter().filter(|(_, is_there)| *is_there) {
            let missed = self.missed.entry(gauge).or_insert(Some(0));
            match missed {
                _ if reading.sum(gauge) > 0 => *missed = None,
                Some(MISSED_MAX) => return Some(gauge),
                Some(times) => *times += 1,
                None => {}
            }
        }
        None
    }
}

impl Invariant for GaugesTellWhatIs {
    fn name(&self) -> &str {
        GAUGES_TELL_WHAT_IS
    }

    fn wants(&self) -> Wants {
        let handled = Wants::nothing().fact::<HandlerBegun>().fact::<HandlerEnded>().fact::<NodeStarted>();
        handled.fact::<CallMade>().fact::<CallOutcome>().fact::<Connection>().fact::<GaugesRead>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.is_disturbed |= matches!(event.what, What::FaultBegins { .. });
        if event.told::<NodeStarted>().is_some() {
            self.nodes.insert(Arc::clone(&event.host), Node::default());
        }
        let Some(node) = self.nodes.get_mut(&event.host) else { return Ok(()) };
        let Some(GaugesRead(reading)) = event.told() else {
            node.note(event, &self.setting);
            return Ok(());
        };
        self.met += 1;
        if let Some(low) = node.too_low(reading, self.is_disturbed) {
            return Err(format!("{}: {low}", event.host));
        }
        // A fault may hold a handler back that has begun by its own word.
        let blind = if self.is_disturbed { None } else { node.blind(reading) };
        match blind {
            Some(gauge) => Err(format!(
                "{}: {} was 0 each time it was read and there was some, {} times",
                event.host,
                gauge.name(),
                MISSED_MAX + 1
            )),
            None => Ok(()),
        }
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let of_others = |(request, _): &(u32, &str)| *request != call.request.id;
        self.nodes.values_mut().for_each(|node| node.entered.retain(of_others));
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The sum of the samples of a gauge that say `what`.
fn sum_of(reading: &Reading, gauge: Gauge, what: &str) -> usize {
    let samples = reading.samples().filter(|(sample, _)| (sample.gauge, sample.what) == (gauge, what));
    samples.map(|(_, count)| count).sum()
}
