//! What clients call, drawn by proptest's strategies.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::{SBoxedStrategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;

use crate::plan::Request;
use crate::plan::time::millis;

/// What clients call, how often, and how long they are willing to wait.
#[derive(Debug, Clone)]
pub struct Load {
    pub(crate) kinds: Vec<CallKind>,
    pub(crate) calls: RangeInclusive<usize>,
    pub(crate) over: Duration,
    pub(crate) deadline: RangeInclusive<Duration>,
    bursts: u64,
    pub(crate) in_flight_max: Option<usize>,
}

/// One sort of call.
#[derive(Debug, Clone)]
pub(crate) struct CallKind {
    client: String,
    kind: String,
    argument: SBoxedStrategy<String>,
}

impl Load {
    /// So many calls, spread evenly over a time, each with a deadline within the range.
    #[must_use]
    pub fn new(calls: RangeInclusive<usize>, over: Duration, deadline: RangeInclusive<Duration>) -> Self {
        Self { kinds: Vec::new(), calls, over, deadline, bursts: 1, in_flight_max: None }
    }

    /// Gathers the calls in so many bursts, each at the beginning of its share of the time: a tenth of it is busy, the
    /// rest idle. One burst is none: calls are spread evenly, as at first.
    #[must_use]
    pub fn bursts(self, count: u64) -> Self {
        Self { bursts: count.max(1), ..self }
    }

    /// Lets clients wait with the next call while so many wait for their replies: a closed loop.
    #[must_use]
    pub fn in_flight_max(self, most: usize) -> Self {
        Self { in_flight_max: Some(most), ..self }
    }

    /// Adds a sort of call: which client makes it, its name, and what it sends. For a text that follows a regular
    /// expression, see [`matching`].
    #[must_use]
    pub fn kind<S>(mut self, client: &str, kind: &str, argument: S) -> Self
    where
        S: Strategy<Value = String> + Send + Sync + 'static,
    {
        let (client, kind) = (client.to_owned(), kind.to_owned());
        self.kinds.push(CallKind { client, kind, argument: argument.sboxed() });
        self
    }

    pub(crate) fn requests(&self, runner: &mut TestRunner) -> Vec<Request> {
        if self.kinds.is_empty() {
            return Vec::new();
        }
        let deadline = millis(*self.deadline.start())..=millis(*self.deadline.end());
        let request = (0..self.kinds.len(), 0..=millis(self.over), deadline);
        let mut drawn = draw(runner, &prop::collection::vec(request, self.calls.clone()));
        drawn.sort_by_key(|(_, at, _)| *at);
        let request = |((kind, at, deadline), id): ((usize, _, _), _)| {
            self.kinds[kind].request(runner, id, self.gathered(at), deadline)
        };
        drawn.into_iter().zip(1..).map(request).collect()
    }

    /// When a call is made that was drawn for this time.
    fn gathered(&self, at: u64) -> u64 {
        let share = millis(self.over) / self.bursts;
        if self.bursts == 1 || share == 0 { at } else { at / share * share + at % share / 10 }
    }

    /// One call of every sort: what must work again at the end.
    pub(crate) fn probes(&self, runner: &mut TestRunner) -> Vec<Request> {
        const FIRST_PROBE: u32 = 900_000;
        let deadline = millis(*self.deadline.end());
        let kinds = self.kinds.iter().zip(FIRST_PROBE..);
        kinds.map(|(kind, id)| kind.request(runner, id, 0, deadline)).collect()
    }
}

impl CallKind {
    fn request(&self, runner: &mut TestRunner, id: u32, at: u64, deadline: u64) -> Request {
        let (at, deadline) = (Duration::from_millis(at), Duration::from_millis(deadline));
        let (client, kind) = (self.client.clone(), self.kind.clone());
        Request { id, at, client, kind, argument: draw(runner, &self.argument), deadline }
    }
}

/// Texts that follow a regular expression. It is read once here; proptest's own strategy for a `&str` reads it again
/// for each text.
///
/// # Panics
/// When proptest cannot draw from this expression.
pub fn matching(expression: &str) -> SBoxedStrategy<String> {
    string_regex(expression).expect("proptest can draw from this expression").sboxed()
}

/// The next value of a strategy.
pub(crate) fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    let tree = strategy.new_tree(runner).expect("the strategies of a scenario do not reject what they draw");
    tree.current()
}
