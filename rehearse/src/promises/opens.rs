//! A breaker opens when as many calls have failed as its policy says, and not sooner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};
use transport::Code;
use transport::policy::Breaker;

use super::breakers::{BreakerStep, BreakerTold};
use super::names::OPENS_FOR_A_REASON;
use super::outgoing::REPEATED_WITHIN;
use crate::facts::{CallMade, CallOutcome, NodeStarted, Outcome};
use crate::setting::Setting;

/// A share of failures means something from so many calls on.
const ENOUGH: usize = 20;

/// For a share so long a call counts at the most.
const COUNTS_FOR: Duration = Duration::from_secs(10);

/// A breaker that opens has seen as many calls fail as it says: in a row, or of all since it was closed last, for a
/// share of those of the last ten seconds. What happened before it was opened the last time counts no more.
#[derive(Debug)]
pub(super) struct OpensForAReason {
    setting: Arc<Setting>,
    clients: BTreeMap<u32, Client>,
    met: u64,
}

/// What one client has seen of its callee since its breaker last changed, at the most: it may count less.
#[derive(Debug)]
struct Client {
    host: Arc<str>,
    callee: &'static str,
    /// Since when its breaker stands as it does, as far as lines tell. Where a host has several clients of a service, it may
    /// be another's.
    since: Duration,
    /// The attempts that are out.
    out: BTreeMap<u32, Attempt>,
    /// The calls that have not worked, and when each was seen last.
    failed: BTreeMap<u32, Duration>,
    /// When attempts have ended, whatever they came to.
    ended: Vec<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    began: Duration,
    call: u32,
    is_streaming: bool,
}

impl OpensForAReason {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), clients: BTreeMap::new(), met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade) {
        let (host, callee, since) = (Arc::clone(&event.host), made.callee, Duration::ZERO);
        let (out, failed, ended) = Default::default();
        let new = Client { host, callee, since, out, failed, ended };
        let client = self.clients.entry(made.client).or_insert(new);
        let new = Attempt { began: event.at, call: made.call, is_streaming: made.is_streaming };
        client.out.insert(made.hop, new);
    }

    /// An attempt has ended. A call that went out before the breaker changed shows nothing any more, and might have failed
    /// all the same.
    fn ended(&mut self, event: &Event, ended: &CallOutcome) {
        let known =
            self.clients.values_mut().find_map(|client| Some((client.out.remove(&ended.hop)?, client)));
        let Some((attempt, client)) = known else { return };
        client.ended.push(event.at);
        let is_in_a_row = matches!(self.setting.breakers.get(client.callee), Some(Breaker::InARow(_)));
        if !shows_that_it_works(ended.outcome) {
            client.failed.insert(attempt.call, event.at);
        } else if attempt.began > client.since && is_in_a_row {
            // That a stream works has shown as soon as it was answered, which may be long ago. And a call fails when it is not
            // repeated any more, which may be some time after its last attempt.
            client.failed.retain(|call, at| {
                let is_later = attempt.is_streaming && *at >= attempt.began;
                *call != attempt.call && (is_later || *at + REPEATED_WITHIN >= event.at)
            });
        }
    }

    fn judge(&mut self, event: &Event, told: &BreakerTold<'_>) -> Result<(), String> {
        let of_it = |client: &&mut Client| client.host == event.host && client.callee == told.callee;
        let breaker = self.setting.breakers.get(told.callee).copied();
        let seen = self.clients.values_mut().filter(of_it).map(|client| client.seen(breaker, event.at));
        let (failed, all) = seen.max().unwrap_or_default();
        let here = self.clients.values_mut().filter(of_it);
        let is_of_one = here.count() == 1;
        for client in self.clients.values_mut().filter(of_it).filter(|_| is_of_one) {
            client.since = event.at;
            client.failed.clear();
            client.ended.clear();
        }
        if !matches!(told.step, BreakerStep::Opens(_)) {
            return Ok(());
        }
        self.met += 1;
        let (least, of) = least(breaker);
        if failed >= least && all >= of {
            return Ok(());
        }
        let (host, callee) = (&event.host, told.callee);
        Err(format!(
            "{host} holds its calls to {callee} back, of which {failed} have failed and {all} have ended since one last worked or \
             its breaker was closed, for a share in the last {} s; expected {least} at least of {of} at least, as its policy says",
            COUNTS_FOR.as_secs()
        ))
    }
}

impl Client {
    /// How many calls have failed that may count, and how many have ended.
    fn seen(&self, breaker: Option<Breaker>, now: Duration) -> (usize, usize) {
        if !matches!(breaker, Some(Breaker::Percent(_))) {
            return (self.failed.len(), self.ended.len());
        }
        let counts = |at: &&Duration| **at + COUNTS_FOR >= now;
        let ended = self.ended.iter().filter(counts).count();
        // One that is late is counted a moment before it is told.
        (self.failed.values().filter(counts).count(), ended + 1)
    }
}

/// How many calls must have failed, and of how many.
fn least(breaker: Option<Breaker>) -> (usize, usize) {
    match breaker {
        Some(Breaker::InARow(most)) => (most as usize, 0),
        Some(Breaker::Percent(percent)) => ((ENOUGH * percent as usize).div_ceil(100), ENOUGH),
        None => (0, 0),
    }
}

/// Whether a call that came to this shows that its callee works, whatever it said.
fn shows_that_it_works(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ok => true,
        Outcome::Said(code) => !matches!(
            code,
            Code::Unavailable
                | Code::Internal
                | Code::Unknown
                | Code::DataLoss
                | Code::ResourceExhausted
                | Code::Cancelled
        ),
        Outcome::NotSent | Outcome::Lost | Outcome::Late | Outcome::Dropped => false,
    }
}

impl Invariant for OpensForAReason {
    fn name(&self) -> &str {
        OPENS_FOR_A_REASON
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<CallMade>().fact::<CallOutcome>().fact::<NodeStarted>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(told) = BreakerTold::read(event)? {
            return self.judge(event, &told);
        }
        if event.told::<NodeStarted>().is_some() {
            self.clients.retain(|_, client| client.host != event.host);
        } else if let Some(made) = event.told::<CallMade>() {
            self.made(event, made);
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(event, ended);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
