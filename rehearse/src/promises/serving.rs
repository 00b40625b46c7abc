//! A callee that says that it does not serve is left alone by those who ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::deadlines::TURN;
use super::names::SERVING_IS_HEEDED;
use crate::facts::{HandlerBegun, ServingTold};
use crate::setting::Setting;

/// Who has said that it does not serve is not called until it says that it does.
#[derive(Debug)]
pub(super) struct ServingIsHeeded {
    setting: Arc<Setting>,
    /// Since when each host says that it does not serve, by the first word of it.
    resting: BTreeMap<Arc<str>, Duration>,
    met: u64,
}

impl ServingIsHeeded {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), resting: BTreeMap::new(), met: 0 }
    }
}

impl Invariant for ServingIsHeeded {
    fn name(&self) -> &str {
        SERVING_IS_HEEDED
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<ServingTold>().fact::<HandlerBegun>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match event.told() {
            Some(ServingTold { serves: true }) => drop(self.resting.remove(&event.host)),
            Some(ServingTold { serves: false }) => {
                self.met += 1;
                self.resting.entry(Arc::clone(&event.host)).or_insert(event.at);
            }
            None => {}
        }
        let Some(since) = self.resting.get(&event.host).filter(|_| event.told::<HandlerBegun>().is_some())
        else {
            return Ok(());
        };
        // The word needs its time, and so do calls that were sent before it came.
        let (ago, most) = (event.at - *since, self.setting.hop() * 2 + TURN);
        if ago <= most {
            return Ok(());
        }
        Err(format!("its callee has said {} ms ago that it does not serve: {event}", ago.as_millis()))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
