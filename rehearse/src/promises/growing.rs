//! Who is left alone because it fails is left alone for longer each time that it was tried in vain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Fault, FaultKind, Invariant, Wants, What};
use transport::Code;

use super::breakers::{BreakerStep, BreakerTold};
use super::hops::{Hop, Hops};
use super::left_alone::{LeftAlone, Why};
use super::names::WAITS_GROW;
use crate::facts::{CallMade, Connection, ConnectionStep, NodeStarted, Outcome, ServingTold};
use crate::hooks::host_of;
use crate::setting::Setting;

/// How the waits before the same thing is tried again grow: each is so many times the one before, up to the longest. Chance
/// spreads each of them by a fifth.
#[derive(Debug, Clone, Copy)]
struct Growth {
    factor: f64,
    longest: f64,
}

/// The first wait, in seconds.
const FIRST: f64 = 1.0;

/// Of a breaker, as `docs/calls.md` has it.
const OF_BREAKERS: Growth = Growth { factor: 2.0, longest: 10.0 };

/// Of a host that is left out, or does not say whether it serves: gRPC's backoff.
const OF_HOSTS: Growth = Growth { factor: 1.6, longest: 120.0 };

/// A fifth, and what a number in a log line may be rounded by.
const SPREAD: f64 = 0.201;

/// The waits of a breaker, of a host that is left out, and of one that does not say whether it serves: the first takes a second,
/// each further one takes longer, and a success makes them begin anew. It is judged where a node has one client of the service:
/// of several nobody tells which waits. How long who cannot be connected to is left alone is a promise of its own.
#[derive(Debug)]
pub(super) struct WaitsGrow {
    setting: Arc<Setting>,
    hops: Hops,
    /// The clients of each service on each host.
    clients: BTreeMap<(Arc<str>, String), BTreeSet<u32>>,
    rows: BTreeMap<Place, Row>,
    /// The hosts that are no nodes and have said whether they serve: what is heard there begins the waits anew.
    have_said: BTreeSet<Arc<str>>,
    met: u64,
}

/// Who waits for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: Arc<str>,
    callee: String,
    /// The host that is left alone; none where the whole service is.
    target: Option<String>,
}

/// The waits of one place since they began anew.
#[derive(Debug, Default)]
struct Row {
    count: u32,
    /// Whether something has happened that nodes do not tell in a line, after which they may begin anew.
    may_be_over: bool,
}

impl WaitsGrow {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (hops, clients, rows, have_said) = Default::default();
        Self { setting: Arc::clone(setting), hops, clients, rows, have_said, met: 0 }
    }

    fn breaker(&mut self, event: &Event, told: &BreakerTold<'_>) -> Result<(), String> {
        let place = Place { host: Arc::clone(&event.host), callee: told.callee.to_owned(), target: None };
        match told.step {
            BreakerStep::Opens(wait) => {
                self.rows.remove(&place);
                self.waits(place, wait, OF_BREAKERS)
            }
            BreakerStep::StaysOpen(wait) => self.waits(place, wait, OF_BREAKERS),
            BreakerStep::Closes => Ok(()),
        }
    }

    fn left_alone(&mut self, event: &Event, told: &LeftAlone<'_>) -> Result<(), String> {
        let Some(target) = told.host() else { return Ok(()) };
        let is_judged = match told.why {
            Why::CannotConnect => false,
            Why::NotTold => self.setting.graph.is_foreign(&target) && !self.have_said.contains(&*target),
            // Where health is asked for, its waits are counted in the same place.
            Why::Ejected => !self.setting.health_checked.contains_key(told.callee),
        };
        let several = self.setting.of_several_connections.contains(&target);
        if !is_judged || several && told.why == Why::NotTold {
            return Ok(());
        }
        let (host, callee) = (Arc::clone(&event.host), told.callee.to_owned());
        self.waits(Place { host, callee, target: Some(target) }, told.wait, OF_HOSTS)
    }

    /// A node says that it waits.
    fn waits(&mut self, place: Place, wait: Duration, growth: Growth) -> Result<(), String> {
        let clients = self.clients.get(&(Arc::clone(&place.host), place.callee.clone()));
        if clients.is_some_and(|clients| clients.len() > 1) {
            return Ok(());
        }
        self.met += 1;
        let row = self.rows.entry(place.clone()).or_default();
        let next = row.count + 1;
        let is_new = row.may_be_over && !growth.allows(wait, next);
        *row = Row { count: if is_new { 1 } else { next }, may_be_over: false };
        if growth.allows(wait, row.count) {
            return Ok(());
        }
        let Place { host, callee, target } = place;
        let target = target.map_or(callee.clone(), |target| format!("{target} of {callee}"));
        Err(format!(
            "{host} leaves {target} alone for {} ms, wait {next} in a row with no success between; expected {:.0} ms give or \
             take a fifth: 1000 ms at first, then each {} times as long as the one before, {:.0} s at most",
            wait.as_millis(),
            growth.nominal(next) * 1e3,
            growth.factor,
            growth.longest
        ))
    }

    /// A call has ended. Who answers one is left out no more, and so may be who gave it up; where it was handled on nobody
    /// knows which host, it may be any.
    fn ended(&mut self, request: u32, hop: &Hop) {
        let is_failure = match hop.ended {
            Some((_, outcome)) => matches!(
                outcome,
                Outcome::NotSent | Outcome::Lost | Outcome::Late | Outcome::Said(Code::Unavailable)
            ),
            None => true,
        };
        // Who refuses a call unread has answered it, too.
        let is_handled = self.hops.handled_on(request, hop).cloned();
        let is_refused = hop.ended.is_some_and(|(_, outcome)| outcome == Outcome::NotSent);
        if is_failure && !is_refused {
            return;
        }
        self.may_be_over(|place| {
            place.host == hop.host
                && place.callee == hop.made.callee
                && is_handled.as_ref().is_none_or(|handled| place.target.as_deref() == Some(&**handled))
        });
    }

    fn made(&mut self, event: &Event, made: &CallMade) {
        let place = (Arc::clone(&event.host), made.callee.to_owned());
        self.clients.entry(place).or_default().insert(made.client);
        // A stream has worked when it begins, and nobody tells when that is.
        if made.is_streaming {
            self.may_be_over(|place| place.host == event.host && place.callee == made.callee);
        }
    }

    /// What concerns hosts may begin anew. Breakers tell when they close.
    fn may_be_over(&mut self, is_it: impl Fn(&Place) -> bool) {
        let rows = self.rows.iter_mut().filter(|(place, _)| place.target.is_some() && is_it(place));
        rows.for_each(|(_, row)| row.may_be_over = true);
    }
}

impl Growth {
    /// The `count`th wait, in seconds.
    fn nominal(self, count: u32) -> f64 {
        (FIRST * self.factor.powi(count.cast_signed() - 1)).min(self.longest)
    }

    fn allows(self, wait: Duration, count: u32) -> bool {
        let times = wait.as_secs_f64() / self.nominal(count);
        (1.0 - SPREAD..=1.0 + SPREAD).contains(&times)
    }
}

impl Invariant for WaitsGrow {
    fn name(&self) -> &str {
        WAITS_GROW
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing()).lines().fact::<NodeStarted>().fact::<Connection>().fact::<ServingTold>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(told) = BreakerTold::read(event)? {
            return self.breaker(event, &told);
        }
        if let Some(told) = LeftAlone::read(event)? {
            return self.left_alone(event, &told);
        }
        if let What::FaultBegins { fault: Fault { what: FaultKind::Unlisted { .. }, .. }, .. } = event.what {
            // Who is listed again is as new.
            self.may_be_over(|_| true);
        } else if event.told::<NodeStarted>().is_some() {
            self.clients.retain(|(host, _), _| *host != event.host);
            self.rows.retain(|place, _| place.host != event.host);
        } else if let Some(Connection { address, step: ConnectionStep::Begun, .. }) = event.told() {
            // Over each connection it is asked anew whether a host serves. Who is left out stays so.
            let target = host_of(address);
            if !self.setting.health_checked.is_empty() {
                self.may_be_over(|place| {
                    place.host == event.host && place.target.as_deref() == Some(&target)
                });
            }
        } else if event.told::<ServingTold>().is_some() {
            self.have_said.insert(Arc::clone(&event.host));
        } else if let Some(made) = event.told::<CallMade>() {
            self.made(event, made);
        }
        if let Some((request, hop)) = self.hops.note(event).map(|(request, hop)| (request, hop.clone())) {
            self.ended(request, &hop);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_wait_is_not_as_long_as_the_first() {
        let ms = Duration::from_millis;
        assert!(OF_BREAKERS.allows(ms(1200), 1) && !OF_BREAKERS.allows(ms(1200), 2));
        assert!(OF_BREAKERS.allows(ms(8000), 4) && OF_BREAKERS.allows(ms(12_000), 9));
        assert!(!OF_BREAKERS.allows(ms(13_000), 9));
        assert!(OF_HOSTS.allows(ms(1280), 2) && !OF_HOSTS.allows(ms(1200), 2));
    }
}
