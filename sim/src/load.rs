//! What clients call, drawn by proptest's strategies.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::{NewTree, SBoxedStrategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Reason, TestRunner};

use crate::mistakes;
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
    ids: Option<SBoxedStrategy<Option<String>>>,
    metadata: Option<SBoxedStrategy<Vec<(String, String)>>>,
    beside: Vec<Beside>,
    /// Which of its strategies draws nothing, once that was looked for.
    empty: OnceLock<Option<String>>,
}

/// Calls beside those of a load: no probe follows from them.
#[derive(Debug, Clone)]
pub struct Beside {
    client: String,
    kinds: Vec<String>,
    count: usize,
    over: Duration,
    deadline: Duration,
    arguments: Option<SBoxedStrategy<String>>,
    sends_id: Option<String>,
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
        let (kinds, in_flight_max, ids, metadata, beside) = (Vec::new(), None, None, None, Vec::new());
        let empty = OnceLock::new();
        Self { kinds, calls, over, deadline, bursts: 1, in_flight_max, ids, metadata, beside, empty }
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

    /// Lets clients send ids of these forms: `None` stands for the request's own, an empty text for none at all. What is
    /// drawn for the second time in a plan is not sent: each request must be known by its id.
    #[must_use]
    pub fn ids<S>(self, ids: S) -> Self
    where
        S: Strategy<Value = Option<String>> + Send + Sync + 'static,
    {
        Self { ids: Some(ids.sboxed()), ..self }
    }

    /// Lets clients send such headers along, by name and value.
    #[must_use]
    pub fn metadata<S>(self, metadata: S) -> Self
    where
        S: Strategy<Value = Vec<(String, String)>> + Send + Sync + 'static,
    {
        Self { metadata: Some(metadata.sboxed()), ..self }
    }

    /// Adds calls beside the others.
    #[must_use]
    pub fn beside(mut self, beside: Beside) -> Self {
        self.beside.push(beside);
        self
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

    /// What is wrong with it.
    pub(crate) fn mistake(&self) -> Option<String> {
        mistakes::of_numbers("calls", &self.calls)
            .or_else(|| mistakes::of_times("deadlines are to be", &self.deadline))
            .or_else(|| self.empty.get_or_init(|| self.draws_nothing()).clone())
    }

    /// Which of its strategies rejects all that it draws.
    fn draws_nothing(&self) -> Option<String> {
        let mut runner = TestRunner::deterministic();
        let kinds = self.kinds.iter().map(|kind| (format!("what {} sends", kind.kind), &kind.argument));
        let mut kinds =
            kinds.filter_map(|(what, argument)| mistakes::of_strategy(&what, argument, &mut runner));
        let kind = kinds.next();
        kind.or_else(|| mistakes::of_strategy("an id", self.ids.as_ref()?, &mut runner))
            .or_else(|| mistakes::of_strategy("metadata", self.metadata.as_ref()?, &mut runner))
    }

    /// Whether `request` is one of these sorts of call.
    pub(crate) fn has(&self, request: &Request) -> bool {
        self.kinds.iter().any(|kind| kind.client == request.client && kind.kind == request.kind)
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

    /// Draws what goes along with requests and probes. All of it is drawn after all else, so that a load which draws it
    /// calls the same as one that does not. The attempts of a probe have ids of their own.
    pub(crate) fn draw_along(
        &self,
        runner: &mut TestRunner,
        requests: &mut Vec<Request>,
        probes: &mut [Request],
    ) {
        for beside in &self.beside {
            let first = requests.last().map_or(1, |last| last.id + 1);
            requests.extend(beside.requests(runner, first));
        }
        requests.sort_by_key(|request| request.at);
        let mut sent = BTreeSet::new();
        for (request, ids) in requests.iter_mut().zip(self.ids.iter().cycle()) {
            let mut is_free = |id: &String| Request::number_of(id).is_none() && sent.insert(id.clone());
            let drawn = draw(runner, ids).filter(|id| id.is_empty() || is_free(id));
            request.sends_id = request.sends_id.take().or(drawn);
        }
        let all = requests.iter_mut().chain(probes);
        for (request, metadata) in all.zip(self.metadata.iter().cycle()) {
            request.metadata = draw(runner, metadata);
        }
    }
}

impl Beside {
    /// So many calls of a client, spread evenly over a time, each of one of these kinds and with this deadline.
    #[must_use]
    pub fn new(
        client: &str,
        kinds: Vec<String>,
        (count, over): (usize, Duration),
        deadline: Duration,
    ) -> Self {
        let (client, arguments, sends_id) = (client.to_owned(), None, None);
        Self { client, kinds, count, over, deadline, arguments, sends_id }
    }

    /// Draws what they send; nothing at first.
    #[must_use]
    pub fn arguments<S>(self, arguments: S) -> Self
    where
        S: Strategy<Value = String> + Send + Sync + 'static,
    {
        Self { arguments: Some(arguments.sboxed()), ..self }
    }

    /// Lets them send no request id, whatever the load has for its calls.
    #[must_use]
    pub fn nameless(self) -> Self {
        Self { sends_id: Some(String::new()), ..self }
    }

    fn requests(&self, runner: &mut TestRunner, first: u32) -> Vec<Request> {
        if self.kinds.is_empty() {
            return Vec::new();
        }
        let request = (0..self.kinds.len(), 0..=millis(self.over));
        let drawn = draw(runner, &prop::collection::vec(request, self.count));
        let request = |((kind, at), id): ((usize, u64), u32)| Request {
            id,
            at: Duration::from_millis(at),
            client: self.client.clone(),
            kind: self.kinds[kind].clone(),
            argument: self.arguments.as_ref().map_or_else(String::new, |arguments| draw(runner, arguments)),
            deadline: self.deadline,
            sends_id: self.sends_id.clone(),
            metadata: Vec::new(),
        };
        drawn.into_iter().zip(first..).map(request).collect()
    }
}

impl CallKind {
    fn request(&self, runner: &mut TestRunner, id: u32, at: u64, deadline: u64) -> Request {
        let (at, deadline) = (Duration::from_millis(at), Duration::from_millis(deadline));
        let (client, kind) = (self.client.clone(), self.kind.clone());
        let (argument, sends_id, metadata) = (draw(runner, &self.argument), None, Vec::new());
        Request { id, at, client, kind, argument, deadline, sends_id, metadata }
    }
}

/// Texts that follow a regular expression. It is read once here; proptest's own strategy for a `&str` reads it again
/// for each text. A scenario with an expression from which none can be drawn is not set up as it must be, and says so.
pub fn matching(expression: &str) -> SBoxedStrategy<String> {
    match string_regex(expression) {
        Ok(strategy) => strategy.sboxed(),
        Err(error) => Wrong(format!("no text follows {expression:?}: {error}")).sboxed(),
    }
}

/// Texts that cannot be drawn, and why.
#[derive(Debug)]
struct Wrong(String);

impl Strategy for Wrong {
    type Tree = Just<String>;
    type Value = String;

    fn new_tree(&self, _: &mut TestRunner) -> NewTree<Self> {
        Err(Reason::from(self.0.clone()))
    }
}

/// The next value of a strategy.
pub(crate) fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    let tree = strategy.new_tree(runner).expect("a strategy that draws nothing is a mistake in the set-up");
    tree.current()
}
