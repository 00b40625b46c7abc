//! A callee that says that it does not serve is left alone by those who ask. A node says so as soon as it is told to drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, FaultKind, Invariant, Wants, What};

use super::deadlines::GRACE;
use super::faults::Faults;
use super::names::SERVING_IS_HEEDED;
use super::requests::ByRequest;
use crate::facts::{HandlerBegun, NodeStarted, RequestAwaited, ServingTold};
use crate::setting::Setting;

/// Who has said that it does not serve is not called until it says that it does.
#[derive(Debug)]
pub(super) struct ServingIsHeeded {
    setting: Arc<Setting>,
    /// Since when each host says that it does not serve, by the first word of it.
    resting: BTreeMap<Arc<str>, Duration>,
    /// Since when each node is told to drain.
    draining: BTreeMap<Arc<str>, Duration>,
    faults: Faults,
    /// When calls came whose requests were not read as a whole then, and where.
    came: ByRequest<Vec<(Arc<str>, &'static str, Duration)>>,
    met: u64,
}

impl ServingIsHeeded {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (resting, draining, faults, came) = Default::default();
        Self { setting: Arc::clone(setting), resting, draining, faults, came, met: 0 }
    }

    /// Takes note of which nodes drain, and of what keeps word of that from their callers.
    fn note(&mut self, event: &Event) {
        self.faults.note(event);
        match &event.what {
            What::FaultBegins { fault, .. } => {
                if let FaultKind::Drain { host } = &fault.what {
                    self.draining.entry(host.as_str().into()).or_insert(event.at);
                }
            }
            _ if event.told::<NodeStarted>().is_some() => drop(self.draining.remove(&event.host)),
            _ => {}
        }
        if let (Some(request), Some(awaited)) = (event.request, event.told::<RequestAwaited>()) {
            let came = (Arc::clone(&event.host), awaited.path, event.at);
            self.came.get_or_default(request).push(came);
        }
    }

    /// A call to a node that drains, and whose callers ask: it came no later than word of that takes.
    fn judge_drain(&mut self, event: &Event) -> Result<(), String> {
        let Some(begun) = event.told::<HandlerBegun>() else { return Ok(()) };
        let is_asked = self.setting.health_checked.contains_key(begun.service);
        // A client does not ask, and who calls next door needs not.
        let is_of_node = !begun.is_local && !self.setting.entries().contains(&begun.service);
        let Some(since) = self.draining.get(&event.host).filter(|_| is_asked && is_of_node) else {
            return Ok(());
        };
        self.met += 1;
        let known = event.request.and_then(|request| self.came.get(request)).into_iter().flatten();
        let came = known.filter(|(host, path, _)| *host == event.host && *path == begun.path);
        let came = came.map(|(.., at)| *at).min().unwrap_or(event.at);
        let most = self.setting.hop() * 2 + self.setting.tick + GRACE;
        let is_held_up = self.faults.iter().any(|fault| {
            fault.delays() && fault.is_felt((*since, event.at), fault.backlog().saturating_add(most))
                || fault.family == Family::Reset
        });
        if is_held_up || came <= *since + most {
            return Ok(());
        }
        let ago = (came - *since).as_millis();
        Err(format!(
            "its node was told to drain {ago} ms before, and says so to its callers, who ask; expected no call from {} ms on: \
             {event}",
            most.as_millis()
        ))
    }
}

impl Invariant for ServingIsHeeded {
    fn name(&self) -> &str {
        SERVING_IS_HEEDED
    }

    fn wants(&self) -> Wants {
        let told = Faults::wants().fact::<ServingTold>().fact::<HandlerBegun>();
        told.fact::<NodeStarted>().fact::<RequestAwaited>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.note(event);
        self.judge_drain(event)?;
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
        let (ago, most) = (event.at - *since, self.setting.hop() * 2 + GRACE);
        if ago <= most {
            return Ok(());
        }
        Err(format!("its callee has said {} ms ago that it does not serve: {event}", ago.as_millis()))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
