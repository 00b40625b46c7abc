//! Who reads access lines tells clients that left from calls that took too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::ids::access_path;
use super::names::CANCELLED_IN_TIME;
use super::requests::ByRequest;
use crate::facts::HandlerBegun;
use crate::setting::Setting;

/// The access line of a call that ends after its deadline does not say that it was cancelled.
#[derive(Debug)]
pub(super) struct CancelledInTime {
    setting: Arc<Setting>,
    due: ByRequest<Vec<Due>>,
    /// Those of calls that strangers make, by their ids.
    due_to_strangers: BTreeMap<String, Vec<Due>>,
    met: u64,
}

/// When a call is due that came over a network.
#[derive(Debug)]
struct Due {
    host: Arc<str>,
    path: &'static str,
    at: Duration,
}

impl CancelledInTime {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (due, due_to_strangers) = Default::default();
        Self { setting: Arc::clone(setting), due, due_to_strangers, met: 0 }
    }

    fn begun(&mut self, event: &Event, begun: &HandlerBegun) {
        let (Some(left), false) = (begun.left, begun.is_local) else { return };
        let due = Due { host: event.host.clone(), path: begun.path, at: event.at.saturating_add(left) };
        match (event.request, &event.request_id) {
            (Some(number), _) => self.due.get_or_default(number).push(due),
            (None, Some(id)) => self.due_to_strangers.entry(id.clone()).or_default().push(due),
            (None, None) => {}
        }
    }

    /// When the call is due whose access line this is: where several came to the same host, the last of them.
    fn due_of(&self, event: &Event) -> Option<Duration> {
        let path = access_path(event)?;
        let all = match event.request {
            Some(number) => self.due.get(number)?,
            None => self.due_to_strangers.get(event.request_id.as_ref()?)?,
        };
        all.iter().filter(|due| due.path == path && due.host == event.host).map(|due| due.at).max()
    }
}

impl Invariant for CancelledInTime {
    fn name(&self) -> &str {
        CANCELLED_IN_TIME
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<HandlerBegun>().lines()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(begun) = event.told::<HandlerBegun>() {
            self.begun(event, begun);
            return Ok(());
        }
        let Some(due) = self.due_of(event) else { return Ok(()) };
        self.met += 1;
        if event.text("status") != Some("CANCELLED") || event.at < due + self.setting.tick {
            return Ok(());
        }
        let late = event.at.saturating_sub(due).as_millis();
        Err(format!("its deadline had passed {late} ms before; expected DEADLINE_EXCEEDED: {event}"))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
