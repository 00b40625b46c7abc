//! Names are asked where they lead, and not again and again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::names::NAMES_ARE_ASKED_SELDOM;
use crate::facts::{NameAsked, NodeStarted};
use crate::setting::Setting;

/// The least time between two questions.
const LEAST: Duration = Duration::from_secs(1);

/// A worker asks the name of a service once a second at most, however many calls wait and however much is down: servers of
/// names are the last thing to press when all else fails.
#[derive(Debug)]
pub(super) struct NamesAreAskedSeldom {
    setting: Arc<Setting>,
    /// When each host has asked a name, the last times, of which as many are kept as there may be in a second.
    asked: BTreeMap<(Arc<str>, String), VecDeque<Duration>>,
    met: u64,
}

impl NamesAreAskedSeldom {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), asked: BTreeMap::new(), met: 0 }
    }

    /// How often `host` may ask `name` within a second: each of its workers for each service that is called there.
    fn most(&self, host: &str, name: &str) -> usize {
        let graph = &self.setting.graph;
        let callees = graph.callees_elsewhere(host);
        let asked = callees.iter().filter(|callee| graph.leads_to(name, callee)).count();
        asked * usize::from(self.setting.workers)
    }
}

impl Invariant for NamesAreAskedSeldom {
    fn name(&self) -> &str {
        NAMES_ARE_ASKED_SELDOM
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<NameAsked>().fact::<NodeStarted>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.asked.retain(|(host, _), _| *host != event.host);
        }
        let Some(NameAsked(name)) = event.told() else { return Ok(()) };
        let most = self.most(&event.host, name);
        // A name that the scenario has given itself: nobody knows for how many services it is asked.
        if most == 0 {
            return Ok(());
        }
        let asked = self.asked.entry((Arc::clone(&event.host), name.clone())).or_default();
        asked.push_back(event.at);
        if asked.len() <= most {
            return Ok(());
        }
        self.met += 1;
        match asked.pop_front().map(|first| event.at - first) {
            Some(since) if since < LEAST => Err(format!(
                "{} asks the name {name} {} times within {} ms; expected {most} at most within a second",
                event.host,
                most + 1,
                since.as_millis()
            )),
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
