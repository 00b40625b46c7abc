//! A node that drains takes no connections any more.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::faults::Faults;
use super::names::DRAINS_CLOSE_LISTENERS;
use crate::facts::{Connection, ConnectionStep};
use crate::hooks::host_of;
use crate::setting::Setting;

/// From a moment after it was told to drain, nobody connects to a node.
#[derive(Debug)]
pub(super) struct DrainsCloseListeners {
    setting: Arc<Setting>,
    faults: Faults,
    met: u64,
}

impl DrainsCloseListeners {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), faults: Faults::default(), met: 0 }
    }

    /// When `host` was told to drain, if it has not been started anew since.
    fn drains(&self, host: &str) -> Option<Duration> {
        let drains = self.faults.on_host(host).filter(|fault| fault.family == Family::Drain);
        drains.filter(|drain| drain.until.is_none()).map(|drain| drain.from).min()
    }

    fn connected(&mut self, event: &Event, host: &str) -> Result<(), String> {
        let Some(told) = self.drains(host) else { return Ok(()) };
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

    fn wants(&self) -> Wants {
        Faults::wants().fact::<Connection>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        let Some(Connection { address, step, .. }) = event.told() else { return Ok(()) };
        let host = &host_of(address);
        match step {
            ConnectionStep::Failed(_) => self.met += u64::from(self.drains(host).is_some()),
            ConnectionStep::Connected => return self.connected(event, host),
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
