//! Of several hosts of a service, none is left out that has not failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::hops::{Hop, Hops};
use super::left_alone::{LeftAlone, Why};
use super::names::LEFT_OUT_FOR_A_REASON;
use crate::facts::{CallMade, CallOutcome, NodeStarted, Outcome};
use crate::setting::Setting;

/// From so many failures in a row on, a host is left out.
const IN_A_ROW: u32 = 5;

/// Who is left out for the first time has failed call after call of one client. A call that had less time than the last one
/// took has shown nothing.
#[derive(Debug)]
pub(super) struct LeftOutForAReason {
    setting: Arc<Setting>,
    hops: Hops,
    /// The calls under ids that nodes gave themselves, by which nobody knows the request: by their numbers.
    others: BTreeMap<u32, Hop>,
    /// What each client knows of each host of its callee.
    known: BTreeMap<(u32, Arc<str>), Known>,
    /// The hosts whose clients have left another host out already.
    left_out: BTreeSet<(Arc<str>, String)>,
    met: u64,
}

/// What a client has seen of a host, at the least.
#[derive(Debug)]
struct Known {
    /// Where the client is, and the service that it calls.
    caller: Arc<str>,
    callee: &'static str,
    /// How many calls that went there, or may have, have not worked since the last that did.
    failures: u32,
    /// How long the last one that worked was handled and on its way back.
    usual: Duration,
}

impl LeftOutForAReason {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (hops, others, known, left_out) = Default::default();
        Self { setting: Arc::clone(setting), hops, others, known, left_out, met: 0 }
    }

    /// Takes note of a call of a request that nobody knows; the call, when it has ended.
    fn note_other(&mut self, event: &Event) -> Option<Hop> {
        if let Some(made) = event.told::<CallMade>() {
            self.others.insert(made.hop, Hop::begun(event, made));
        }
        let ended = event.told::<CallOutcome>()?;
        let mut hop = self.others.remove(&ended.hop)?;
        hop.end(event, ended);
        Some(hop)
    }

    /// A call has ended: it counts for the host that handled it, or else for all that could have.
    fn ended(&mut self, request: Option<u32>, hop: &Hop) {
        let Some((at, outcome)) = hop.ended else { return };
        let targets = || self.setting.graph.targets(&hop.host, hop.made.callee).map(Arc::from).collect();
        let handled_on = request.and_then(|request| self.hops.handled_on(request, hop));
        let hosts: Vec<Arc<str>> = handled_on.map_or_else(targets, |host| vec![Arc::clone(host)]);
        let proves_one = handled_on.is_some();
        let begun = request.map_or(&[][..], |request| self.hops.begun(request));
        let begun = begun.iter().filter(|begun| begun.path == hop.made.path);
        let handled = begun.map(|begun| at.saturating_sub(begun.at)).min().unwrap_or_default();
        for host in hosts {
            let (caller, callee) = (Arc::clone(&hop.host), hop.made.callee);
            let known = self.known.entry((hop.made.client, host));
            let known = known.or_insert(Known { caller, callee, failures: 0, usual: Duration::ZERO });
            match outcome {
                // When it began, nobody has told.
                Outcome::Ok if proves_one && hop.made.is_streaming => known.failures = 0,
                Outcome::Ok if proves_one => (known.failures, known.usual) = (0, handled),
                Outcome::Ok | Outcome::Dropped => {}
                Outcome::Late if at - hop.at < known.usual => {}
                _ => known.failures += 1,
            }
        }
    }

    fn judge(&mut self, event: &Event) -> Result<(), String> {
        let told = LeftAlone::read(event)?.filter(|told| told.why == Why::Ejected);
        let Some(told) = told else { return Ok(()) };
        let (callee, host) = (told.callee, told.host().unwrap_or_default());
        if !self.left_out.insert((Arc::clone(&event.host), host.clone())) {
            return Ok(());
        }
        self.met += 1;
        let here = self.known.iter().filter(|((_, target), known)| {
            **target == *host && known.caller == event.host && known.callee == callee
        });
        // The one that was too many is told next.
        let failures = here.map(|(_, known)| known.failures + 1).max().unwrap_or_default();
        if failures >= IN_A_ROW {
            return Ok(());
        }
        Err(format!(
            "{} leaves {host} out of {callee}, and {failures} calls of a client there in a row have failed at most, those \
             not counted that had less time than the last one took; expected {IN_A_ROW} at least",
            event.host
        ))
    }
}

impl Invariant for LeftOutForAReason {
    fn name(&self) -> &str {
        LEFT_OUT_FOR_A_REASON
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing()).lines().fact::<NodeStarted>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.left_out.retain(|(host, _)| *host != event.host);
        }
        if let Some((request, hop)) = self.hops.note(event).map(|(request, hop)| (request, hop.clone())) {
            self.ended(Some(request), &hop);
        }
        if event.request.is_none()
            && let Some(hop) = self.note_other(event)
        {
            self.ended(None, &hop);
        }
        self.judge(event)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
