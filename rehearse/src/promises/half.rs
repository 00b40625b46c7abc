//! Of several hosts of a service, no more than half are left out, however many fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sim::{Event, Invariant, Wants};
use transport::Code;

use super::hops::{Hop, Hops};
use super::left_alone::{LeftAlone, Why};
use super::names::HALF_ARE_LEFT_OUT_AT_MOST;
use crate::facts::{NodeStarted, Outcome};
use crate::setting::Setting;

/// A node leaves out half of the hosts of a service at most, rounded up. It is judged where it has one client of the service:
/// of several nobody tells which has left a host out.
#[derive(Debug)]
pub(super) struct HalfAreLeftOutAtMost {
    setting: Arc<Setting>,
    hops: Hops,
    /// The clients of each host, by the service that they call.
    clients: BTreeMap<(Arc<str>, String), BTreeSet<u32>>,
    /// Who is left out of which service by whom, as far as it is not known to be back.
    left_out: BTreeMap<(Arc<str>, String), BTreeSet<String>>,
    met: u64,
}

impl HalfAreLeftOutAtMost {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (hops, clients, left_out) = Default::default();
        Self { setting: Arc::clone(setting), hops, clients, left_out, met: 0 }
    }

    /// A call has ended. Who answers one is back; where that may be several, all of them may.
    fn ended(&mut self, request: u32, hop: &Hop) {
        let place = (Arc::clone(&hop.host), hop.made.callee.to_owned());
        self.clients.entry(place.clone()).or_default().insert(hop.made.client);
        let is_answer = match hop.ended {
            Some((_, Outcome::Said(code))) => code != Code::Unavailable,
            Some((_, outcome)) => outcome == Outcome::Ok,
            None => false,
        };
        let Some(left_out) = self.left_out.get_mut(&place).filter(|_| is_answer) else { return };
        match self.hops.handled_on(request, hop) {
            Some(host) => drop(left_out.remove(&**host)),
            None => left_out.clear(),
        }
    }

    fn judge(&mut self, event: &Event) -> Result<(), String> {
        let told = LeftAlone::read(event)?.filter(|told| told.why == Why::Ejected);
        let Some(told) = told else { return Ok(()) };
        let (callee, place) = (told.callee, (Arc::clone(&event.host), told.callee.to_owned()));
        let left_out = self.left_out.entry(place.clone()).or_default();
        left_out.insert(told.host().unwrap_or_default());
        if self.clients.get(&place).is_none_or(|clients| clients.len() != 1) {
            return Ok(());
        }
        self.met += 1;
        let hosts = self.setting.graph.targets(&event.host, callee).count();
        let most = hosts.div_ceil(2);
        if left_out.len() <= most {
            return Ok(());
        }
        let names = left_out.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(format!(
            "{} leaves {} of the {hosts} hosts of {callee} out at the same time, {names}; expected {most} at most, so that \
             those who are left do not get all calls",
            event.host,
            left_out.len()
        ))
    }
}

impl Invariant for HalfAreLeftOutAtMost {
    fn name(&self) -> &str {
        HALF_ARE_LEFT_OUT_AT_MOST
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing()).lines().fact::<NodeStarted>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.clients.retain(|(host, _), _| *host != event.host);
            self.left_out.retain(|(host, _), _| *host != event.host);
        }
        if let Some((request, hop)) = self.hops.note(event).map(|(request, hop)| (request, hop.clone())) {
            self.ended(request, &hop);
        }
        self.judge(event)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
