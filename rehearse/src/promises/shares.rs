//! Hosts of a service share its calls, and so do the workers of a host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Phase, Wants, What};

use super::hops::Hops;
use super::ids::access_path;
use super::names::{REPLICAS_SHARE, WORKERS_SHARE};
use crate::facts::{CallOutcome, HandlerBegun, Outcome};
use crate::setting::Setting;

/// From so many calls of one client to a service on, each replica must have handled one.
const ENOUGH_CALLS: u32 = 12;

/// In so many segments' time a client is connected to all replicas. The calls before take what there is, and do not count.
const CONNECTED_AFTER: u32 = 10;

/// How many calls each host handled.
type Shares = BTreeMap<Arc<str>, u32>;

/// Where nothing goes wrong, each host of a service handles calls of each of its callers. Whose calls failed asks who failed
/// them less.
#[derive(Debug)]
pub(super) struct ReplicasShare {
    setting: Arc<Setting>,
    hops: Hops,
    /// When each client made its first call, and where.
    clients: BTreeMap<u32, (Duration, Arc<str>)>,
    /// How many later calls worked, by the client, the service and the host that handled them; none of a host that handled
    /// earlier ones only.
    worked: BTreeMap<(u32, &'static str), Shares>,
    /// The clients of whose calls some have failed.
    failed: BTreeSet<u32>,
    is_disturbed: bool,
    met: u64,
}

impl ReplicasShare {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (hops, clients, worked) = (Hops::default(), BTreeMap::new(), BTreeMap::new());
        let (setting, failed) = (Arc::clone(setting), BTreeSet::new());
        Self { setting, hops, clients, worked, failed, is_disturbed: false, met: 0 }
    }

    fn count(&mut self, event: &Event) {
        let Some((number, hop)) = self.hops.note(event) else { return };
        let (client, callee, at, hop) = (hop.made.client, hop.made.callee, hop.at, hop.clone());
        let (first, _) = self.clients.entry(client).or_insert_with(|| (at, Arc::clone(&hop.host)));
        let is_early = at < *first + self.setting.hop() * CONNECTED_AFTER;
        match event.told::<CallOutcome>().map(|ended| ended.outcome) {
            Some(Outcome::Ok) => {}
            None | Some(Outcome::Dropped) => return,
            Some(_) => {
                self.failed.insert(client);
                return;
            }
        }
        if let Some(host) = self.hops.handled_on(number, &hop) {
            self.met += u64::from(!is_early && self.setting.graph.targets(&event.host, callee).count() > 1);
            // Who has had a call is known, and may get no more for a while: that one may have taken long.
            let worked = self.worked.entry((client, callee)).or_default();
            *worked.entry(Arc::clone(host)).or_default() += u32::from(!is_early);
        }
    }

    fn judge(&self) -> Result<(), String> {
        let sound = self.worked.iter().filter(|((client, _), _)| !self.failed.contains(client));
        for ((client, service), worked) in sound {
            let calls: u32 = worked.values().sum();
            let Some((_, caller)) = self.clients.get(client) else { continue };
            let targets: Vec<_> = self.setting.graph.targets(caller, service).collect();
            if calls < ENOUGH_CALLS || targets.len() < 2 {
                continue;
            }
            if let Some(idle) = targets.iter().find(|host| !worked.contains_key(**host)) {
                return Err(format!(
                    "{caller} made {calls} calls to {service}, and {idle}, which has it, got none of them"
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for ReplicasShare {
    fn name(&self) -> &str {
        REPLICAS_SHARE
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::FaultBegins { .. } => self.is_disturbed = true,
            What::Phase(Phase::Healed) if !self.is_disturbed => return self.judge(),
            _ if !self.is_disturbed => self.count(event),
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// From so many connections with calls on, each worker of a host must have handled some: they are handed out in turn.
const ENOUGH_CONNECTIONS: usize = 16;

/// Where nothing goes wrong, all workers of a host handle calls.
#[derive(Debug)]
pub(super) struct WorkersShare {
    setting: Arc<Setting>,
    /// By host: who called, and the workers that handled calls.
    hosts: BTreeMap<Arc<str>, (BTreeSet<String>, BTreeSet<u16>)>,
    is_disturbed: bool,
    met: u64,
}

impl WorkersShare {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), hosts: BTreeMap::new(), is_disturbed: false, met: 0 }
    }

    fn count(&mut self, event: &Event) -> Result<(), String> {
        if let Some(begun) = event.told::<HandlerBegun>() {
            if begun.worker >= self.setting.workers && !self.setting.graph.is_foreign(&event.host) {
                let workers = self.setting.workers;
                return Err(format!("expected {workers} workers, counted from 0; seen: {event}"));
            }
            self.hosts.entry(Arc::clone(&event.host)).or_default().1.insert(begun.worker);
            self.met += 1;
        } else if event.request.is_some() && access_path(event).is_some() {
            let caller = event.text("peer").map(str::to_owned);
            self.hosts.entry(Arc::clone(&event.host)).or_default().0.extend(caller);
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), String> {
        let busy = self.hosts.iter().filter(|(_, (callers, _))| callers.len() >= ENOUGH_CONNECTIONS);
        for (host, (callers, workers)) in busy.filter(|(host, _)| !self.setting.graph.is_foreign(host)) {
            if workers.len() < usize::from(self.setting.workers) {
                let (connections, workers) = (callers.len(), workers.len());
                return Err(format!(
                    "calls came to {host} over {connections} connections, and {workers} of its {} workers handled all",
                    self.setting.workers
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for WorkersShare {
    fn name(&self) -> &str {
        WORKERS_SHARE
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<HandlerBegun>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::FaultBegins { .. } => self.is_disturbed = true,
            What::Phase(Phase::Healed) if !self.is_disturbed => return self.judge(),
            _ if !self.is_disturbed => return self.count(event),
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
