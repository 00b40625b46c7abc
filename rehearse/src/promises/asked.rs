//! A callee that is asked whether it serves, and does not say, is asked less and less often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::left_alone::{LeftAlone, Why};
use super::names::ASKED_LESS_AND_LESS_OFTEN;
use crate::facts::{NodeStarted, ServingTold};
use crate::setting::Setting;

/// The shortest of the waits after a stream on which nothing was said: a second, less a fifth, by gRPC's backoff.
const SHORTEST: Duration = Duration::from_millis(799);

/// Who has said nothing when it was asked whether it serves is left alone for a second at least before it is asked again.
/// Where something was said on the stream, it may be asked at once. Nodes do not tell what they say.
#[derive(Debug)]
pub(super) struct AskedLessAndLessOften {
    setting: Arc<Setting>,
    /// When each host that is no node has said a word last.
    told: BTreeMap<Arc<str>, Duration>,
    /// When each node has last told that a host does not say so; its start, at first.
    asked: BTreeMap<(Arc<str>, String), Duration>,
    met: u64,
}

impl AskedLessAndLessOften {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (told, asked) = Default::default();
        Self { setting: Arc::clone(setting), told, asked, met: 0 }
    }
}

impl Invariant for AskedLessAndLessOften {
    fn name(&self) -> &str {
        ASKED_LESS_AND_LESS_OFTEN
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<ServingTold>().fact::<NodeStarted>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.asked.retain(|(host, _), _| *host != event.host);
        }
        if event.told::<ServingTold>().is_some() {
            self.told.insert(Arc::clone(&event.host), event.at);
        }
        let told = LeftAlone::read(event)?.filter(|told| told.why == Why::NotTold);
        let Some((told, callee)) = told.and_then(|told| Some((told.wait, told.host()?))) else {
            return Ok(());
        };
        let asked =
            self.asked.insert((Arc::clone(&event.host), callee.clone()), event.at).unwrap_or_default();
        let has_said = self.told.get(&*callee).is_some_and(|said| *said >= asked);
        if has_said || !self.setting.graph.is_foreign(&callee) {
            return Ok(());
        }
        self.met += 1;
        if told >= SHORTEST {
            return Ok(());
        }
        Err(format!(
            "{callee} has not said whether it serves, and {} asks it again after {} ms; expected a second or so at least, and \
             more with each time",
            event.host,
            told.as_millis()
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
