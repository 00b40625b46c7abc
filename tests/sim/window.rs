//! What must hold of a breaker that opens by the share of calls that fail: it does so in time.

use std::collections::VecDeque;
use std::time::Duration;

use protos::app::grpc::service2::SayHello;
use rehearse::facts::{CallMade, CallOutcome, HandlerEnded, Outcome};
use rehearse::{Code, Event, Invariant, Wants};
use transport::Method as _;

/// A call counts for so long, and may count for a second more.
const COUNTS_FOR: Duration = Duration::from_secs(9);
const MAY_COUNT_FOR: Duration = Duration::from_secs(10);

/// A share of fewer calls means nothing.
const ENOUGH: usize = 20;

/// While the breaker is closed a smaller share of the calls has failed than it says.
#[derive(Debug)]
pub(crate) struct OpensByShare {
    percent: usize,
    /// The calls that went out since the breaker last changed, and what the last attempt of each came to.
    out: Vec<(u32, Option<Outcome>)>,
    /// When calls have ended since then, and what they show.
    ended: VecDeque<(Duration, Shown)>,
    met: u64,
}

/// What a call shows of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Works,
    Fails,
    /// Whether it counts, the breaker alone knows.
    Unknown,
}

impl OpensByShare {
    pub(crate) fn new(percent: usize) -> Self {
        Self { percent, out: Vec::new(), ended: VecDeque::new(), met: 0 }
    }

    /// Each request makes one call, which ends with its handler.
    fn ended(&mut self, event: &Event, request: u32) -> Result<(), String> {
        let Some(at) = self.out.iter().position(|(of, _)| *of == request) else { return Ok(()) };
        let shown = self.out.swap_remove(at).1.map_or(Shown::Unknown, shown);
        self.ended.push_back((event.at, shown));
        while self.ended.front().is_some_and(|(at, _)| *at + MAY_COUNT_FOR < event.at) {
            self.ended.pop_front();
        }
        self.met += 1;
        let count = |shown: Shown| {
            let recent = self.ended.iter().filter(|(at, _)| *at + COUNTS_FOR > event.at);
            recent.filter(|(_, of)| *of == shown).count()
        };
        let (failed, all) = (count(Shown::Fails), self.ended.len());
        let known = failed + count(Shown::Works);
        if shown != Shown::Fails || known < ENOUGH || failed * 100 < all * self.percent {
            return Ok(());
        }
        Err(format!(
            "{failed} of {all} calls to service1 have failed in the last {} s, and no breaker has opened; expected that it \
             does as soon as {} of 100 have, of {ENOUGH} calls or more: {event}",
            MAY_COUNT_FOR.as_secs(),
            self.percent
        ))
    }
}

fn shown(outcome: Outcome) -> Shown {
    match outcome {
        Outcome::Lost
        | Outcome::Said(Code::Unavailable | Code::Internal | Code::Unknown | Code::DataLoss) => Shown::Fails,
        Outcome::Ok => Shown::Works,
        Outcome::Said(_) | Outcome::NotSent | Outcome::Late | Outcome::Dropped => Shown::Unknown,
    }
}

impl Invariant for OpensByShare {
    fn name(&self) -> &str {
        "a breaker opens when as large a share of calls has failed as it says"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<CallMade>().fact::<CallOutcome>().fact::<HandlerEnded>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.field("breaker").is_some() {
            (self.out, self.ended) = Default::default();
        }
        let Some(request) = event.request else { return Ok(()) };
        if let Some(made) = event.told::<CallMade>() {
            match self.out.iter_mut().find(|(of, _)| *of == request) {
                Some((_, outcome)) => *outcome = None,
                None if made.attempt == 0 => self.out.push((request, None)),
                None => {}
            }
        } else if let Some(ended) = event.told::<CallOutcome>() {
            let of_it = self.out.iter_mut().filter(|(of, _)| *of == request);
            of_it.for_each(|(_, outcome)| *outcome = Some(ended.outcome));
        } else if event.told::<HandlerEnded>().is_some_and(|ended| ended.path == SayHello::PATH) {
            return self.ended(event, request);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
