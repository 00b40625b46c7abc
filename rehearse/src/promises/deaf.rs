//! A node that drains takes no connections any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, FaultKind, Invariant, What};
use transport::Address;

use super::faults::Faults;
use super::names::DRAINS_CLOSE_LISTENERS;
use crate::facts::{Connection, ConnectionStep, NodeStarted};
use crate::setting::Setting;

/// From a moment after it was told to drain, nobody connects to a node.
#[derive(Debug)]
pub(super) struct DrainsCloseListeners {
    setting: Arc<Setting>,
    /// When each node was told to drain that has not been started anew since.
    drains: BTreeMap<String, Duration>,
    faults: Faults,
    met: u64,
}

impl DrainsCloseListeners {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), drains: BTreeMap::new(), faults: Faults::default(), met: 0 }
    }

    fn connected(&mut self, event: &Event, host: &str) -> Result<(), String> {
        let Some(told) = self.drains.get(host).copied() else { return Ok(()) };
        self.met += 1;
        // What connected before may learn of it late.
        let is_on_way = self.faults.iter().any(|fault| {
            let is_there =
                fault.is_on(host) || fault.is_on(&event.host) || fault.is_between(host, &event.host);
            is_there && fault.delays() && fault.is_felt((told, event.at), fault.backlog())
        });
        if is_on_way || event.at <= told + self.setting.hop() * 3 {
            return Ok(());
        }
        let after = (event.at - told).as_millis();
        Err(format!("{} connected to {host}, {after} ms after that was told to drain", event.host))
    }
}

impl Invariant for DrainsCloseListeners {
    fn name(&self) -> &str {
        DRAINS_CLOSE_LISTENERS
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if let What::FaultBegins { fault, .. } = &event.what
            && let FaultKind::Drain { host } = &fault.what
        {
            self.drains.entry(host.clone()).or_insert(event.at);
        } else if event.told::<NodeStarted>().is_some() {
            self.drains.remove(&*event.host);
        } else if let Some(Connection { address, step, .. }) = event.told() {
            match (step, address) {
                (ConnectionStep::Failed(_), Address::Tcp { host, .. }) => {
                    self.met += u64::from(self.drains.contains_key(host));
                }
                (ConnectionStep::Connected, Address::Tcp { host, .. }) => return self.connected(event, host),
                _ => {}
            }
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
