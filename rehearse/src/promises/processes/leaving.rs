//! A process that is told to leave does so in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, FaultKind, Invariant, ProcessEnded, Wants, What};

use crate::setting::Setting;

/// How long a drain takes besides its own time: what was accepted last is given a moment, a connection lingers, and the
/// log is written to its end.
const BESIDES: Duration = Duration::from_millis(2100);

/// A node that is told to drain has ended when its time for that is over.
#[derive(Debug)]
pub(super) struct ProcessesLeave {
    setting: Arc<Setting>,
    /// Those that were told, and when they must have ended.
    told: BTreeMap<String, Duration>,
    met: u64,
}

impl ProcessesLeave {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), told: BTreeMap::new(), met: 0 }
    }

    fn end(&mut self, host: &str, now: Duration) -> Result<(), String> {
        let Some(due) = self.told.remove(host) else { return Ok(()) };
        self.met += 1;
        if now <= due {
            return Ok(());
        }
        let late = (now - due).as_millis();
        Err(format!("{host} was told to drain, and had not ended {late} ms after its time for that"))
    }
}

impl Invariant for ProcessesLeave {
    fn name(&self) -> &str {
        "a process that drains ends in time"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<ProcessEnded>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::FaultBegins { fault, .. } => match &fault.what {
                FaultKind::Drain { host } => {
                    let due = event.at + self.setting.leaves_within() + BESIDES + self.setting.held_up;
                    self.told.entry(host.clone()).or_insert(due);
                    Ok(())
                }
                // It does nothing for a while, or does not leave any more.
                FaultKind::Pause { host } | FaultKind::Kill { host } | FaultKind::PowerLoss { host } => {
                    self.told.remove(host);
                    Ok(())
                }
                _ => Ok(()),
            },
            // What has not left by now is killed.
            What::FaultEnds { fault, .. } => match &fault.what {
                FaultKind::Drain { host } => self.end(host, event.at),
                _ => Ok(()),
            },
            What::Told(_) if event.told::<ProcessEnded>().is_some() => self.end(&event.host, event.at),
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
