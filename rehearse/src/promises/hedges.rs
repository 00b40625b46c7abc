//! A second attempt beside the first is made when the first takes longer than is usual, and not sooner.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::names::HEDGED_WHEN_LATE;
use crate::facts::{CallMade, CallOutcome, Outcome};
use crate::setting::Setting;

/// So many calls of a method tell a client what is usual, and it finds that anew after so many.
const WINDOW: usize = 64;
const EVERY: usize = 8;

/// So many of a hundred calls are quicker than a hedge, at the least. A client waits for longer than 95 take; what it counts
/// and when nobody tells.
const PERCENT: usize = 80;

/// An attempt beside another one of its call comes no sooner than most of the method's calls have ended that worked of late.
#[derive(Debug)]
pub(super) struct HedgedWhenLate {
    setting: Arc<Setting>,
    /// The calls that are under way: their attempts, and when the first began.
    going: BTreeMap<u32, Going>,
    /// By client and path.
    windows: BTreeMap<(u32, &'static str), Window>,
    met: u64,
}

#[derive(Debug)]
struct Going {
    began: Duration,
    client: u32,
    /// Whether it has failed before, and been made again: what such a one takes a client does not count.
    has_failed: bool,
    attempts: Vec<u32>,
}

/// How long the last calls of a method took that worked.
#[derive(Debug, Default)]
struct Window {
    took: VecDeque<Duration>,
}

impl HedgedWhenLate {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (going, windows) = Default::default();
        Self { setting: Arc::clone(setting), going, windows, met: 0 }
    }

    fn made(&mut self, event: &Event, made: &CallMade) -> Result<(), String> {
        let (client, has_failed) = (made.client, made.attempt > 0);
        let new = Going { began: event.at, client, has_failed, attempts: Vec::new() };
        let going = self.going.entry(made.call).or_insert(new);
        going.attempts.push(made.hop);
        let is_hedge = made.attempt == 1 && going.attempts.len() == 2;
        let window = self.windows.get(&(made.client, made.path)).filter(|_| is_hedge);
        let Some(usual) = window.and_then(Window::usual) else { return Ok(()) };
        let after = event.at - going.began;
        if after + self.setting.tick * 2 >= usual {
            return Ok(());
        }
        Err(format!(
            "a second attempt is made {} ms after the first, which is under way, and {PERCENT} of 100 of the last calls that \
             worked took {} ms or less; expected that the first has as long at least: {event}",
            after.as_millis(),
            usual.as_millis()
        ))
    }

    fn ended(&mut self, event: &Event, ended: &CallOutcome) {
        let is_it = |going: &Going| going.attempts.contains(&ended.hop);
        let Some((call, going)) = self.going.iter_mut().find(|(_, going)| is_it(going)) else { return };
        going.attempts.retain(|attempt| *attempt != ended.hop);
        let (call, is_over, took) = (*call, going.attempts.is_empty(), event.at - going.began);
        if ended.outcome == Outcome::Ok && !going.has_failed {
            self.met += 1;
            self.windows.entry((going.client, ended.path)).or_default().note(took);
        }
        if is_over {
            self.going.remove(&call);
        }
    }
}

impl Window {
    fn note(&mut self, took: Duration) {
        self.took.push_back(took);
        if self.took.len() > WINDOW + EVERY {
            self.took.pop_front();
        }
    }

    /// What most of them took no longer than: the least of what that was after each of the last calls, since a client may go
    /// by an older one.
    fn usual(&self) -> Option<Duration> {
        let ends = self.took.len().saturating_sub(EVERY).max(1)..=self.took.len();
        ends.filter_map(|end| self.usual_after(end)).min()
    }

    fn usual_after(&self, end: usize) -> Option<Duration> {
        let mut took: Vec<_> = self.took.range(end.saturating_sub(WINDOW)..end).copied().collect();
        took.sort_unstable();
        took.get(took.len() * PERCENT / 100).copied()
    }
}

impl Invariant for HedgedWhenLate {
    fn name(&self) -> &str {
        HEDGED_WHEN_LATE
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<CallOutcome>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let Some(ended) = event.told::<CallOutcome>() {
            self.ended(event, ended);
        }
        event.told::<CallMade>().map_or(Ok(()), |made| self.made(event, made))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
