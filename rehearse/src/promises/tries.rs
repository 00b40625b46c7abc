//! How often a call is tried.

use std::borrow::Cow;
use std::sync::Arc;

use sim::{CallRecord, Event, Invariant, Wants};

use super::names::TRIED_TWICE_AT_MOST;
use super::requests::ByRequest;
use crate::facts::{CallMade, HandlerBegun, StreamSeen};
use crate::setting::Setting;

/// A call whose callee says that it has not read it is sent once more by itself (gRFC A6 calls that a transparent
/// retry), and no call is sent more often: whoever is busy refusing calls is not helped by more of them.
#[derive(Debug)]
pub(super) struct TriedTwiceAtMost {
    setting: Arc<Setting>,
    /// By request, for each rpc.
    counts: ByRequest<Vec<(Cow<'static, str>, Counts)>>,
    met: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// Calls that clients made: they do not try again.
    by_clients: u32,
    /// For each number of an attempt, how many of these were made, and how many streams say that they are of it.
    by_attempt: [(u32, u32); ATTEMPTS],
    /// Streams that callees have seen, by their own word.
    seen: u32,
    refused: u32,
}

/// More attempts than any call has.
const ATTEMPTS: usize = 8;

impl Counts {
    fn of_attempt(&mut self, number: u32) -> &mut (u32, u32) {
        &mut self.by_attempt[(number as usize).min(ATTEMPTS - 1)]
    }

    fn made(self) -> u32 {
        self.by_attempt.iter().map(|(made, _)| made).sum()
    }

    fn most(self) -> u32 {
        self.by_clients + self.made() * 2
    }

    fn is_too_much(self) -> bool {
        self.seen > self.most()
    }
}

impl TriedTwiceAtMost {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), counts: ByRequest::default(), met: 0 }
    }

    fn counts(&mut self, number: u32, path: Cow<'static, str>) -> &mut Counts {
        let rpcs = self.counts.get_or_default(number);
        let known = rpcs.iter().position(|(known, _)| *known == path);
        let at = known.unwrap_or_else(|| {
            rpcs.push((path, Counts::default()));
            rpcs.len() - 1
        });
        &mut rpcs[at].1
    }

    /// A stream says how many attempts were before it. A call that is sent again since it was not read is the same attempt, so that two
    /// streams at most say the same for each attempt.
    fn says_its_number(
        &mut self,
        event: &Event,
        number: u32,
        path: &str,
        previous: u32,
    ) -> Result<(), String> {
        let counts = self.counts(number, path.to_owned().into());
        let by_clients = if previous == 0 { counts.by_clients } else { 0 };
        let (made, seen) = counts.of_attempt(previous);
        *seen += 1;
        let most = by_clients + *made * 2;
        if *seen <= most {
            return Ok(());
        }
        Err(format!(
            "sim-{number:06} {path}: {seen} streams say that {previous} attempts were before them, and {} such attempts \
             were made, each of which may be sent twice: {event}",
            by_clients + *made
        ))
    }

    fn see(
        &mut self,
        event: &Event,
        number: u32,
        path: Cow<'static, str>,
        refused: bool,
    ) -> Result<(), String> {
        self.met += 1;
        let counts = self.counts(number, path.clone());
        counts.seen += 1;
        counts.refused += u32::from(refused);
        if !counts.is_too_much() {
            return Ok(());
        }
        let Counts { by_clients, seen, refused, .. } = *counts;
        let (made, most) = (counts.made(), counts.most());
        Err(format!(
            "sim-{number:06} {path} was called {} times and sent {seen} times, the last time to {}, and {refused} times \
             refused unread; expected {most} times at most",
            by_clients + made,
            event.host
        ))
    }
}

impl Invariant for TriedTwiceAtMost {
    fn name(&self) -> &str {
        TRIED_TWICE_AT_MOST
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<HandlerBegun>().fact::<StreamSeen>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if let Some(path) = self.setting.kind(&call.request).map(|kind| kind.path) {
            self.counts(call.request.id, path.into()).by_clients += 1;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(number) = event.request else { return Ok(()) };
        if let Some(made) = event.told::<CallMade>() {
            self.counts(number, made.path.into()).of_attempt(made.attempt).0 += 1;
            if made.attempt >= made.attempts_max.max(1) {
                let (attempt, most) = (made.attempt + 1, made.attempts_max);
                return Err(format!("it is attempt {attempt} of its call; expected {most} at most: {event}"));
            }
            if made.attempt > 0 && self.setting.graph.is_on(made.callee, &event.host) {
                return Err(format!(
                    "in memory there is nobody else to go to; expected one attempt: {event}"
                ));
            }
        } else if let Some(begun) = event.told::<HandlerBegun>() {
            // Who is no node has told of the stream.
            if !self.setting.graph.is_foreign(&event.host) {
                return self.see(event, number, begun.path.into(), false);
            }
        } else if let Some(StreamSeen { path, refused, previous }) = event.told() {
            self.says_its_number(event, number, path, *previous)?;
            return self.see(event, number, path.clone().into(), *refused);
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
    fn a_call_may_be_sent_once_more_and_no_more() {
        let mut counts = Counts::default();
        counts.of_attempt(0).0 = 1;
        for seen in [1, 2] {
            counts.seen = seen;
            assert!(!counts.is_too_much());
        }
        counts.seen = 3;
        assert!(counts.is_too_much());
        counts.by_clients = 1;
        assert!(!counts.is_too_much(), "a client has called, too");
    }
}
