//! Hosts of a service share its calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use sim::{Event, Invariant, Phase, What};

use super::hops::Hops;
use super::names::REPLICAS_SHARE;
use crate::facts::{CallOutcome, Outcome};
use crate::setting::Setting;

/// From so many calls of one host to a service on, each replica must have handled one.
const ENOUGH_CALLS: u32 = 24;

/// How many calls each host handled.
type Shares = BTreeMap<Arc<str>, u32>;

/// Where nothing goes wrong, each host of a service handles calls of each of its callers.
#[derive(Debug)]
pub(super) struct ReplicasShare {
    setting: Arc<Setting>,
    hops: Hops,
    /// How many calls worked, by the caller's host, the service and the host that handled them.
    worked: BTreeMap<(Arc<str>, &'static str), Shares>,
    is_disturbed: bool,
    met: u64,
}

impl ReplicasShare {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (hops, worked) = (Hops::default(), BTreeMap::new());
        Self { setting: Arc::clone(setting), hops, worked, is_disturbed: false, met: 0 }
    }

    fn count(&mut self, event: &Event) {
        let Some((number, hop)) = self.hops.note(event) else { return };
        let (callee, path) = (hop.made.callee, hop.made.path);
        if event.told::<CallOutcome>().is_none_or(|ended| ended.outcome != Outcome::Ok) {
            return;
        }
        if let Some(host) = self.hops.handled_on(number, path) {
            let worked = self.worked.entry((Arc::clone(&event.host), callee)).or_default();
            *worked.entry(Arc::clone(host)).or_default() += 1;
        }
    }

    fn judge(&mut self) -> Result<(), String> {
        for ((caller, service), worked) in &self.worked {
            let calls: u32 = worked.values().sum();
            let targets: Vec<_> = self.setting.graph.targets(caller, service).collect();
            if calls < ENOUGH_CALLS || targets.len() < 2 {
                continue;
            }
            self.met += 1;
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
