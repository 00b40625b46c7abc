//! A node that drains takes no connections any more, and says so to who tries, but not before its delay is over.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::faults::Faults;
use super::names::DRAINS_CLOSE_LISTENERS;
use crate::facts::{Connection, ConnectionStep};
use crate::hooks::host_of;
use crate::setting::Setting;

/// From a moment after it was told to drain, nobody connects to a node, and who tries is refused at once.
#[derive(Debug)]
pub(super) struct DrainsCloseListeners {
    setting: Arc<Setting>,
    faults: Faults,
    /// The attempts to connect to a node that drained already, and when each began.
    tried: BTreeMap<u32, Duration>,
    met: u64,
}

impl DrainsCloseListeners {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (faults, tried) = (Faults::default(), BTreeMap::new());
        Self { setting: Arc::clone(setting), faults, tried, met: 0 }
    }

    /// When `host` was told to drain, if it has not been started anew since.
    fn told(&self, host: &str) -> Option<Duration> {
        let drains = self.faults.on_host(host).filter(|fault| fault.family == Family::Drain);
        drains.filter(|drain| drain.until.is_none()).map(|drain| drain.from).min()
    }

    /// When `host` begins to drain, or has begun.
    fn drains(&self, host: &str) -> Option<Duration> {
        Some(self.told(host)? + self.setting.drain_delay)
    }

    /// Since when `host` is known to drain, if it does and nothing has been in the way of word of it until now.
    fn known(&self, event: &Event, host: &str) -> Option<Duration> {
        let (told, begins) = (self.told(host)?, self.drains(host)?);
        let is_on_way = self.faults.iter().any(|fault| {
            let is_there =
                fault.is_on(host) || fault.is_on(&event.host) || fault.is_between(host, &event.host);
            is_there && fault.delays() && fault.is_felt((told, event.at), fault.backlog())
        });
        // What connected before may learn of it late.
        let known = begins + self.setting.hop() * 3;
        (!is_on_way && event.at > known).then_some(begins)
    }

    fn connected(&mut self, event: &Event, host: &str) -> Result<(), String> {
        self.met += u64::from(self.drains(host).is_some());
        let Some(told) = self.known(event, host) else { return Ok(()) };
        let after = (event.at - told).as_millis();
        Err(format!("{} connected to {host}, {after} ms after that began to drain", event.host))
    }

    /// When `host` was told to drain, if it goes on as before at `now`.
    fn goes_on(&self, host: &str, now: Duration) -> Option<Duration> {
        self.told(host).filter(|told| now < *told + self.setting.drain_delay)
    }

    /// Nobody is refused by a host that goes on as before, unless it is just being started, or dies.
    fn refused(&mut self, event: &Event, host: &str, told: Duration) -> Result<(), String> {
        self.met += 1;
        let mut others = self.faults.on_host(host).filter(|fault| match fault.family {
            Family::Kill | Family::PowerLoss => true,
            Family::Drain => fault.until.is_some(),
            _ => false,
        });
        if others.any(|fault| fault.is_felt((told, event.at), fault.felt_after(&self.setting))) {
            return Ok(());
        }
        let (after, delay) = ((event.at - told).as_millis(), self.setting.drain_delay.as_millis());
        Err(format!(
            "{host} refused {} {after} ms after it was told to drain; expected it to take connections for {delay} ms",
            event.host
        ))
    }

    /// Whoever tries is refused at once.
    fn ended(&mut self, event: &Event, host: &str, attempt: u32) -> Result<(), String> {
        let Some(tried) = self.tried.remove(&attempt).filter(|_| self.known(event, host).is_some()) else {
            return Ok(());
        };
        self.met += 1;
        let (took, most) = (event.at - tried, self.setting.hop() * 2);
        if took <= most {
            return Ok(());
        }
        let (took, most) = (took.as_millis(), most.as_millis());
        Err(format!(
            "{} tried to connect to {host}, which drains, and knew after {took} ms that it could not; expected it to be \
             refused within {most} ms",
            event.host
        ))
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
        let Some(Connection { address, step, attempt }) = event.told() else { return Ok(()) };
        let host = &host_of(address);
        match step {
            ConnectionStep::Begun if self.known(event, host).is_some() => {
                self.tried.insert(*attempt, event.at);
                Ok(())
            }
            ConnectionStep::Connected => self.connected(event, host),
            ConnectionStep::Begun | ConnectionStep::Spoken => Ok(()),
            ConnectionStep::Failed(_) | ConnectionStep::GivenUp | ConnectionStep::Closed { .. } => {
                let is_refused = *step == ConnectionStep::Failed(ErrorKind::ConnectionRefused);
                match self.goes_on(host, event.at) {
                    Some(told) if is_refused => self.refused(event, host, told),
                    _ => self.ended(event, host, *attempt),
                }
            }
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
