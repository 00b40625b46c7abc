//! A service that is left alone is asked now and then whether it works again, by one call at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::breakers::{BreakerStep, BreakerTold};
use super::names::ONE_PROBE_AT_A_TIME;
use crate::facts::{CallMade, CallOutcome, NodeStarted, Outcome};
use crate::setting::Setting;

/// While a breaker is open no call goes out before its time, one at a time does then, and the first that works closes it.
#[derive(Debug)]
pub(super) struct OneProbeAtATime {
    setting: Arc<Setting>,
    /// By host and callee.
    breakers: BTreeMap<(Arc<str>, String), Breaker>,
    met: u64,
}

/// What is known of the breakers of one callee on one host.
#[derive(Debug, Default)]
struct Breaker {
    /// The clients that have called it: each has a breaker of its own.
    clients: Vec<u32>,
    open: Option<Open>,
}

/// A breaker that is open.
#[derive(Debug)]
struct Open {
    /// When a probe may go out.
    until: Duration,
    /// Whether a call has gone out to find out whether its service works.
    has_asked: bool,
    /// The call that is out, by its number.
    probe: Option<u32>,
    /// When a probe worked.
    worked: Option<Duration>,
}

impl OneProbeAtATime {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), breakers: BTreeMap::new(), met: 0 }
    }

    fn breaker(&mut self, host: &Arc<str>, callee: &str) -> &mut Breaker {
        self.breakers.entry((Arc::clone(host), callee.to_owned())).or_default()
    }

    /// What an open breaker says of itself it says of its probe: other calls were out before it opened, and show how things
    /// stood then.
    fn told(&mut self, event: &Event, told: &BreakerTold<'_>) -> Result<(), String> {
        let breaker = self.breaker(&event.host, told.callee);
        let was_open = match told.step {
            BreakerStep::Opens(wait) | BreakerStep::StaysOpen(wait) => {
                let until = event.at + wait;
                breaker.open.replace(Open { until, has_asked: false, probe: None, worked: None })
            }
            BreakerStep::Closes => breaker.open.take(),
        };
        let has_asked = was_open.is_none_or(|open| open.has_asked);
        if has_asked || breaker.clients.len() > 1 || matches!(told.step, BreakerStep::Opens(_)) {
            return Ok(());
        }
        Err(format!(
            "no call has gone out since its breaker opened; expected that it stays as it is: {event}"
        ))
    }

    /// A call goes out. Only the first attempt of one is let out by a breaker.
    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        self.met += 1;
        let tick = self.setting.tick;
        let breaker = self.breaker(&event.host, made.callee);
        if !breaker.clients.contains(&made.client) {
            breaker.clients.push(made.client);
        }
        // Of several clients nobody says whose breaker is open.
        let is_known = breaker.clients.len() == 1 && made.attempt == 0;
        let Some(open) = breaker.open.as_mut().filter(|_| is_known) else { return Ok(()) };
        if event.at + tick < open.until {
            let early = (open.until - event.at).as_millis();
            return Err(format!("its breaker is open for {early} ms more; expected no call before: {event}"));
        }
        open.has_asked = true;
        match open.probe.replace(made.hop) {
            Some(other) => Err(format!(
                "its breaker is open, and call {other} is out to find out whether {} works; expected no other: {event}",
                made.callee
            )),
            None => Ok(()),
        }
    }

    fn ended(&mut self, event: &Event, ended: &CallOutcome) {
        let open = self.breakers.values_mut().filter_map(|breaker| breaker.open.as_mut());
        for open in open.filter(|open| open.probe == Some(ended.hop)) {
            open.probe = None;
            open.worked = Some(event.at).filter(|_| ended.outcome == Outcome::Ok);
        }
    }

    /// A breaker whose probe has worked is closed in the same moment.
    fn judge(&self, now: Duration) -> Result<(), String> {
        for ((host, callee), breaker) in &self.breakers {
            let worked = breaker.open.as_ref().and_then(|open| open.worked);
            if let Some(at) = worked.filter(|at| now > *at + self.setting.tick) {
                let at = at.as_millis();
                return Err(format!(
                    "at {at} ms a call of {host} to {callee} worked, and its breaker is still open"
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for OneProbeAtATime {
    fn name(&self) -> &str {
        ONE_PROBE_AT_A_TIME
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<CallMade>().fact::<CallOutcome>().fact::<NodeStarted>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(told) = BreakerTold::read(event)? {
            self.told(event, &told)?;
        } else if event.told::<NodeStarted>().is_some() {
            self.breakers.retain(|(host, _), _| *host != event.host);
        } else if let Some(made) = event.told::<CallMade>() {
            self.made(event, made)?;
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(event, ended);
        }
        self.judge(event.at)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
