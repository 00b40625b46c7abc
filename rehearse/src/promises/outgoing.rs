//! How many calls the clients of nodes have out: where a policy says `max-in-flight`, those beyond are refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::Event;

use crate::facts::{CallMade, CallOutcome, NodeStarted, Outcome};
use crate::setting::InFlight;

/// How long a call that has failed may still wait for its next attempt: `backoff-max`, spread by a fifth.
pub(super) const REPEATED_WITHIN: Duration = Duration::from_millis(1200);

/// The calls that are out, of each client to whose callee there may not be any number.
#[derive(Debug, Default)]
pub(super) struct Outgoing(Vec<Client>);

#[derive(Debug)]
struct Client {
    number: u32,
    host: Arc<str>,
    callee: &'static str,
    calls: Vec<CallOut>,
    most: usize,
    /// When there was last no room for another call; `Duration::MAX` while there is none.
    full: Option<Duration>,
}

/// A call with all of its attempts.
#[derive(Debug)]
struct CallOut {
    number: u32,
    attempts: Vec<u32>,
    /// Until when it counts, once its attempts have failed.
    until: Duration,
}

impl Outgoing {
    /// Takes note of `event`, where there may be so many calls to services.
    pub(super) fn note(&mut self, event: &Event, limits: &BTreeMap<&'static str, InFlight>) {
        if let Some(made) = event.told::<CallMade>() {
            if let Some(most) = limits.get(made.callee) {
                self.client(event, made, most.least).made(made, event.at);
            }
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.0.iter_mut().for_each(|client| client.ended(ended, event.at));
        } else if event.told::<NodeStarted>().is_some() {
            let here = self.0.iter_mut().filter(|client| client.host == event.host);
            here.for_each(|client| client.empty(event.at));
        }
    }

    /// Whether a client on `host` had as many calls to `callee` as it may have, at some time since then.
    pub(super) fn was_full(&self, host: &str, callee: &str, since: Duration) -> bool {
        let mut of_it = self.0.iter().filter(|client| *client.host == *host && client.callee == callee);
        of_it.any(|client| client.full.is_some_and(|full| full >= since))
    }

    fn client(&mut self, event: &Event, made: &CallMade, most: usize) -> &mut Client {
        if let Some(known) = self.0.iter().position(|client| client.number == made.client) {
            return &mut self.0[known];
        }
        let (number, host, calls) = (made.client, Arc::clone(&event.host), Vec::new());
        self.0.push(Client { number, host, callee: made.callee, calls, most, full: None });
        self.0.last_mut().expect("one was just added")
    }
}

impl Client {
    fn made(&mut self, made: &CallMade, now: Duration) {
        match self.calls.iter_mut().find(|call| call.number == made.call) {
            Some(again) => again.attempts.push(made.hop),
            None => self.calls.push(CallOut { number: made.call, attempts: vec![made.hop], until: now }),
        }
        self.look(now);
    }

    fn ended(&mut self, ended: &CallOutcome, now: Duration) {
        let Some(call) = self.calls.iter_mut().find(|call| call.attempts.contains(&ended.hop)) else {
            return;
        };
        call.attempts.retain(|attempt| *attempt != ended.hop);
        let may_be_repeated = matches!(ended.outcome, Outcome::NotSent | Outcome::Lost | Outcome::Said(_));
        call.until = if may_be_repeated { now + REPEATED_WITHIN } else { now };
        self.look(now);
    }

    /// The host starts anew.
    fn empty(&mut self, now: Duration) {
        self.calls.clear();
        self.look(now);
    }

    fn look(&mut self, now: Duration) {
        self.calls.retain(|call| !call.attempts.is_empty() || call.until > now);
        if self.calls.len() >= self.most {
            self.full = Some(Duration::MAX);
        } else if self.full == Some(Duration::MAX) {
            self.full = Some(now);
        }
    }
}
