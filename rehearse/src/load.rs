//! What clients call: rpcs with strategies over their messages, and the answers that are right for each.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::strategy::Strategy;
use serde::Serialize;
use sim::Request;
use transport::route::Route;
use transport::{Body as _, Contract, Method};

use crate::expect::Expect;
use crate::ids;
use crate::rpc::{self, JsonMessage, Rpc, StreamOf};
use crate::strangers::Stranger;

/// Over what a client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// REST, by the first route of the rpc's contract.
    Rest,
    /// gRPC.
    Grpc,
}

impl Via {
    /// The client's name in plans.
    pub(crate) fn client(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
        }
    }
}

/// What clients call, how often, and how long they are willing to wait.
#[derive(Debug)]
pub struct Load {
    pub(crate) load: sim::Load,
    /// How many calls there are, of all kinds together.
    calls: usize,
    pub(crate) kinds: Vec<Kind>,
    /// Whether gRPC clients say how long they are willing to wait.
    pub(crate) says_timeouts: bool,
    /// How often, and over which time, hosts are asked for their health.
    pub(crate) health_checks: Option<(usize, Duration)>,
    /// The strangers beside, how often they come, and over which time.
    pub(crate) strangers: Vec<Stranger>,
    pub(crate) visits: (usize, Duration),
    /// What is wrong with it.
    mistake: Option<String>,
}

/// How a client reads a streamed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    AsItComes,
    Nothing,
    /// One piece after so long, and the next after as long again.
    Slowly(Duration),
}

/// One sort of call.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) via: Via,
    /// Its name in plans.
    pub(crate) name: String,
    pub(crate) service: &'static str,
    pub(crate) path: &'static str,
    pub(crate) routes: &'static [Route],
    /// Whether its request or its answer is a stream.
    pub(crate) is_streaming: bool,
    /// Whether its answer is a stream.
    pub(crate) is_watched: bool,
    /// How long a client waits before each further message of a stream of requests.
    pub(crate) pause: Duration,
    /// How the client reads a streamed answer, once it has its head.
    pub(crate) reads: Reads,
    pub(crate) expect: Expect,
    pub(crate) rpc: Box<dyn Rpc>,
}

impl Kind {
    pub(crate) fn is_of(&self, request: &Request) -> bool {
        self.name == request.kind && self.via.client() == request.client
    }
}

impl Load {
    /// So many calls, spread evenly over a time, each with a deadline within the range.
    #[must_use]
    pub fn new(calls: usize, over: Duration, deadlines: RangeInclusive<Duration>) -> Self {
        let load = sim::Load::new(calls..=calls, over, deadlines);
        Self {
            load,
            calls,
            kinds: Vec::new(),
            says_timeouts: true,
            health_checks: None,
            strangers: Vec::new(),
            visits: (0, Duration::ZERO),
            mistake: None,
        }
    }

    /// What is wrong with it, now that all of it was said.
    pub(crate) fn mistake(&mut self) -> Option<String> {
        let is_idle = (self.calls == 0 || self.kinds.is_empty()) && self.health_checks.is_none();
        let expected = match self.kinds.is_empty() {
            true => "expected .rpc::<..>(..) or .watch::<..>(..)",
            false => "expected Load::new(..) with one call at least",
        };
        self.mistake.take().or_else(|| is_idle.then(|| format!("clients call nothing: {expected}")))
    }

    /// Gathers the calls in so many bursts, with idle time between them; 1, as at first, spreads them evenly.
    #[must_use]
    pub fn bursts(self, count: u64) -> Self {
        Self { load: self.load.bursts(count), ..self }
    }

    /// Lets clients wait with the next call while so many wait for their replies: a closed loop.
    #[must_use]
    pub fn in_flight_max(self, most: usize) -> Self {
        Self { load: self.load.in_flight_max(most), ..self }
    }

    /// Lets clients send request ids of every form: of other lengths and letters, none at all, and such as no node takes
    /// over. Else each sends the name that the plan has for its request.
    #[must_use]
    pub fn any_ids(self) -> Self {
        Self { load: self.load.ids(ids::of_every_form()), ..self }
    }

    /// Lets gRPC clients keep to themselves how long they are willing to wait: the node's own deadline is in force then.
    #[must_use]
    pub fn without_timeouts(self) -> Self {
        Self { says_timeouts: false, ..self }
    }

    /// Has nodes asked for their health, as machines do that give them work: so many times, spread over a time. These
    /// checks are calls beside those of the load; promises about calls do not concern them, but one of their own.
    #[must_use]
    pub fn health_checks(self, count: usize, over: Duration) -> Self {
        Self { health_checks: Some((count, over)), ..self }
    }

    /// Has [strangers](crate::strangers) come beside the calls: so many visits, spread over a time, each by one of these to a
    /// node that it may go to. Promises about calls do not concern what they say; one of their own does. They exist in the
    /// simulation only.
    #[must_use]
    pub fn strangers(self, count: usize, over: Duration, strangers: Vec<Stranger>) -> Self {
        Self { strangers, visits: (count, over), ..self }
    }

    /// Lets clients send such metadata along: names and values of headers, as they are on the wire. Over REST, a node
    /// lets those through that its flag `--rest-headers` names.
    #[must_use]
    pub fn metadata(
        self,
        metadata: impl Strategy<Value = Vec<(String, String)>> + Send + Sync + 'static,
    ) -> Self {
        Self { load: self.load.metadata(metadata), ..self }
    }

    /// Adds calls of `M`, with requests drawn from `requests`. Calls over REST need a route in the contract: where there is
    /// none, the scenario is told to be set up wrongly.
    #[must_use]
    pub fn rpc<M>(
        self,
        via: Via,
        requests: impl Strategy<Value = M::Request> + Send + Sync + 'static,
        expect: Expect,
    ) -> Self
    where
        M: Method<Request: JsonMessage, Response: JsonMessage>,
    {
        let rpc = rpc::of::<M, M::Response>(None);
        self.add::<M>(via, requests, expect, rpc)
    }

    /// As [`rpc`](Self::rpc); `set_id` writes the id of each call into its request, where that needs one that is
    /// unique. It is not part of the plan, so that a plan cut down calls the same.
    #[must_use]
    pub fn rpc_with_id<M>(
        self,
        via: Via,
        requests: impl Strategy<Value = M::Request> + Send + Sync + 'static,
        expect: Expect,
        set_id: impl Fn(&mut M::Request, String) + Send + Sync + 'static,
    ) -> Self
    where
        M: Method<Request: JsonMessage, Response: JsonMessage>,
    {
        let rpc = rpc::of::<M, M::Response>(Some(Box::new(set_id)));
        self.add::<M>(via, requests, expect, rpc)
    }

    /// Adds clients that watch a stream of `M` over gRPC until their deadline: each message is told as a fact,
    /// [`StreamMessage`](crate::facts::StreamMessage). A stream has worked when it was opened and its server
    /// ended it in good order, or its deadline did.
    #[must_use]
    pub fn watch<M>(
        self,
        requests: impl Strategy<Value = M::Request> + Send + Sync + 'static,
        expect: Expect,
    ) -> Self
    where
        M: Method<Request: JsonMessage, Response: StreamOf>,
    {
        let rpc = rpc::of::<M, <M::Response as StreamOf>::Item>(None);
        self.add::<M>(Via::Grpc, requests, expect, rpc)
    }

    /// Adds clients that call `M` over gRPC with a stream of requests: each list that is drawn is one, whose messages go out
    /// with `pause` between them.
    #[must_use]
    pub fn client_streaming<M>(
        self,
        pause: Duration,
        requests: impl Strategy<Value = Vec<<M::Request as StreamOf>::Item>> + Send + Sync + 'static,
        expect: Expect,
    ) -> Self
    where
        M: Method<Request: StreamOf, Response: JsonMessage>,
    {
        self.add_many::<M, M::Response>(pause, requests, expect)
    }

    /// Adds clients that call `M` over gRPC with streams both ways: they send as [`client_streaming`](Self::client_streaming),
    /// and read meanwhile as [`watch`](Self::watch).
    #[must_use]
    pub fn bidi_streaming<M>(
        self,
        pause: Duration,
        requests: impl Strategy<Value = Vec<<M::Request as StreamOf>::Item>> + Send + Sync + 'static,
        expect: Expect,
    ) -> Self
    where
        M: Method<Request: StreamOf, Response: StreamOf>,
    {
        self.add_many::<M, <M::Response as StreamOf>::Item>(pause, requests, expect)
    }

    /// Adds clients that open a stream of `M` over gRPC and read none of it until their deadline: what does not go into
    /// buffers waits at its node. To them a stream has worked when it was opened.
    #[must_use]
    pub fn watch_unread<M>(self, requests: impl Strategy<Value = M::Request> + Send + Sync + 'static) -> Self
    where
        M: Method<Request: JsonMessage, Response: StreamOf>,
    {
        self.watch_so::<M>(requests, Reads::Nothing)
    }

    /// Adds clients that open a stream of `M` over gRPC and read a piece of it, 16 KiB at most, after each `pause`: they are
    /// slow, and never stand still for longer.
    #[must_use]
    pub fn watch_slowly<M>(
        self,
        pause: Duration,
        requests: impl Strategy<Value = M::Request> + Send + Sync + 'static,
    ) -> Self
    where
        M: Method<Request: JsonMessage, Response: StreamOf>,
    {
        self.watch_so::<M>(requests, Reads::Slowly(pause))
    }

    fn watch_so<M>(
        self,
        requests: impl Strategy<Value = M::Request> + Send + Sync + 'static,
        reads: Reads,
    ) -> Self
    where
        M: Method<Request: JsonMessage, Response: StreamOf>,
    {
        let mut load = self.watch::<M>(requests, Expect::ok());
        load.last().reads = reads;
        load
    }

    /// Adds calls of `M`, whose requests are streams, and whose answers consist of `A`.
    fn add_many<M, A>(
        self,
        pause: Duration,
        requests: impl Strategy<Value: Serialize> + Send + Sync + 'static,
        expect: Expect,
    ) -> Self
    where
        M: Method<Request: StreamOf>,
        A: JsonMessage,
    {
        let mut load = self.add::<M>(Via::Grpc, requests, expect, rpc::of_many::<M, A>());
        load.last().pause = pause;
        load
    }

    fn last(&mut self) -> &mut Kind {
        self.kinds.last_mut().expect("one was just added")
    }

    fn add<M>(
        mut self,
        via: Via,
        requests: impl Strategy<Value: Serialize> + Send + Sync + 'static,
        expect: Expect,
        rpc: Box<dyn Rpc>,
    ) -> Self
    where
        M: Method,
    {
        if via == Via::Rest && M::ROUTES.is_empty() {
            let path = M::PATH;
            self.mistake.get_or_insert_with(|| format!("{path} has no REST route: expected Via::Grpc"));
        }
        let name = self.free_name(via, <M::Contract as Contract>::NAME, M::PATH);
        let text = |request| serde_json::to_string(&request).expect("a message has a JSON form");
        let load = self.load.kind(via.client(), &name, requests.prop_map(text));
        self.kinds.push(Kind {
            via,
            name,
            service: <M::Contract as Contract>::NAME,
            path: M::PATH,
            routes: M::ROUTES,
            is_streaming: M::Request::STREAMING || M::Response::STREAMING,
            is_watched: M::Response::STREAMING,
            pause: Duration::ZERO,
            reads: Reads::AsItComes,
            expect,
            rpc,
        });
        Self { load, ..self }
    }

    /// The rpc's name, and a number where the same is called with other requests already.
    fn free_name(&self, via: Via, service: &str, path: &str) -> String {
        let name = name_of(service, path);
        let before = self.kinds.iter().filter(|kind| kind.via == via && kind.path == path).count();
        if before == 0 { name } else { format!("{name} {}", before + 1) }
    }
}

/// The name of an rpc in plans: `service/Method`.
pub(crate) fn name_of(service: &str, path: &str) -> String {
    format!("{service}/{}", path.rsplit('/').next().unwrap_or(path))
}

/// Whether a call of this kind is one of the rpc: its name may be followed by a number.
pub(crate) fn is_named(kind: &str, service: &str, path: &str) -> bool {
    let method = kind.strip_prefix(service).and_then(|rest| rest.strip_prefix('/'));
    let method = method.map(|rest| rest.split_once(' ').map_or(rest, |(method, _)| method));
    let of_path = method.and_then(|method| path.strip_suffix(method));
    of_path.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}
