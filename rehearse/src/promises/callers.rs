//! A service that calls another waits no longer than until the deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::deadlines::GRACE;
use super::faults::Faults;
use super::names::CALLERS_WAIT_NO_LONGER;
use crate::facts::{CallMade, CallOutcome};
use crate::setting::Setting;

/// Every call of a service has its outcome by its deadline, and no unary one has more time than a node gives it.
#[derive(Debug)]
pub(super) struct CallersWaitNoLonger {
    setting: Arc<Setting>,
    /// When each call that is under way is due, by its number.
    due: BTreeMap<u32, Duration>,
    faults: Faults,
    met: u64,
}

impl CallersWaitNoLonger {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), due: BTreeMap::new(), faults: Faults::default(), met: 0 }
    }

    fn begin(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        if let Some(left) = made.left {
            self.due.insert(made.hop, event.at.saturating_add(left));
        }
        let most = self.setting.deadline;
        if made.is_streaming || made.left.is_some_and(|left| left <= most) {
            return Ok(());
        }
        Err(format!(
            "expected {} ms at most, which is what nodes give a call; seen: {event}",
            most.as_millis()
        ))
    }

    fn end(&mut self, event: &Event, ended: &CallOutcome) -> Result<(), String> {
        let Some(due) = self.due.remove(&ended.hop) else { return Ok(()) };
        self.met += 1;
        // What is torn down with its host tells so when that happens; a host that was paused, when it goes on.
        let mut pauses = self.faults.on_host(&event.host).filter(|fault| fault.family == Family::Pause);
        let is_excused = event.host.is_empty() || pauses.any(|pause| pause.is_felt((due, event.at), GRACE));
        if event.at <= due + GRACE || is_excused {
            return Ok(());
        }
        let late = (event.at - due).as_millis();
        Err(format!("its caller waited until {late} ms after the deadline: {event}"))
    }
}

impl Invariant for CallersWaitNoLonger {
    fn name(&self) -> &str {
        CALLERS_WAIT_NO_LONGER
    }

    fn wants(&self) -> Wants {
        Faults::wants().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if let Some(made) = event.told::<CallMade>() {
            self.begin(event, made)
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.end(event, ended)
        } else {
            Ok(())
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
