//! A host that is no node but another HTTP/2 server which speaks gRPC: what nodes call is not always one of their kind.
//!
//! It is a server of bare frames, of which nothing is shared with a node. It refuses streams unread while the plan says so
//! ([`sim::FaultKind::RefusedStreams`]), and tells the same facts and access lines as a node, so that all promises about
//! calls concern it, too.

mod call;
mod serves;

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server;
use prost::Message as _;
use sim::{HostContext, HostResult};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use transport::health::{ServingStatus, Watch};
use transport::{Code, Contract, Io, Method};

use self::call::Call;
pub use self::serves::Failed;
use self::serves::{Illness, Serves};
use crate::clients::GRPC_PORT;
use crate::rpc::{JsonMessage, Trouble};

/// What a server of HTTP/1.1 says to the beginning of HTTP/2.
const NOT_HTTP2: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

/// A server that is no node, and has one service.
pub struct Foreign {
    serves: Serves,
    streams_max: Option<u32>,
    connections_max: usize,
    calls_max: Option<usize>,
    rests: Option<Range<Duration>>,
    /// What it says while it rests, if anything.
    word: Option<ServingStatus>,
    is_mute: bool,
    /// Whether it ends what it says after each word.
    is_terse: bool,
    manner: Manner,
}

/// What becomes of a connection that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Served,
    HungUp,
    /// It is held, and nothing is said on it.
    Ignored,
    /// It is held, and what is said on it is not HTTP/2.
    Misunderstood,
}

impl Foreign {
    /// One that has the service of the contract `C`, and answers nothing yet.
    #[must_use]
    pub fn of<C: Contract>() -> Self {
        Self {
            serves: Serves::of(C::NAME),
            streams_max: None,
            connections_max: usize::MAX,
            calls_max: None,
            rests: None,
            word: Some(ServingStatus::NotServing),
            is_mute: false,
            is_terse: false,
            manner: Manner::Served,
        }
    }

    /// Answers calls of `M` so.
    #[must_use]
    pub fn answer<M>(
        mut self,
        answer: impl Fn(M::Request) -> Result<M::Response, Failed> + Send + Sync + 'static,
    ) -> Self
    where
        M: Method<Request: JsonMessage, Response: JsonMessage>,
    {
        let typed = move |message: &[u8]| {
            let is_wrong = |error: prost::DecodeError| Failed::new(Code::InvalidArgument, error.to_string());
            let request = M::Request::decode(message).map_err(is_wrong)?;
            Ok(answer(request)?.encode_to_vec().into())
        };
        self.serves.rpcs.push((M::PATH, Box::new(typed)));
        self
    }

    /// Says `said` to each call of `M`, whether its answer would be a stream or not.
    #[must_use]
    pub fn refuse<M: Method>(mut self, said: Failed) -> Self {
        self.serves.rpcs.push((M::PATH, Box::new(move |_| Err(said.clone()))));
        self
    }

    /// Lets a connection carry so many calls at a time, by `SETTINGS_MAX_CONCURRENT_STREAMS`.
    #[must_use]
    pub fn streams_max(self, most: u32) -> Self {
        Self { streams_max: Some(most), ..self }
    }

    /// Has so many connections at a time, and hangs up on each further one as soon as it has accepted it.
    #[must_use]
    pub fn connections_max(self, most: usize) -> Self {
        Self { connections_max: most, ..self }
    }

    /// Whether there is a bound to the calls that a connection may carry at a time.
    pub(crate) fn takes_few_at_a_time(&self) -> bool {
        self.streams_max.is_some()
    }

    /// Sends GOAWAY on a connection when it has taken so many calls.
    #[must_use]
    pub fn calls_max(self, most: usize) -> Self {
        Self { calls_max: Some(most), ..self }
    }

    /// Takes so long for each call.
    #[must_use]
    pub fn takes(mut self, takes: Duration) -> Self {
        self.serves.takes = takes;
        self
    }

    /// Takes on so many calls at once, and says `RESOURCE_EXHAUSTED` to all others.
    #[must_use]
    pub fn room(mut self, most: usize) -> Self {
        self.serves.room = most;
        self
    }

    /// Makes it tell whether it serves to those who ask (`grpc.health.v1.Health/Watch`), which it does not between these
    /// times since it was started. It answers calls even so.
    #[must_use]
    pub fn rests(self, rests: Range<Duration>) -> Self {
        Self { rests: Some(rests), ..self }
    }

    /// Makes it say nothing while it [rests](Self::rests): it ends what it says whether it serves, with `UNAVAILABLE`.
    #[must_use]
    pub fn says_no_more_then(self) -> Self {
        Self { word: None, ..self }
    }

    /// Makes it say that it does not know its service while it [rests](Self::rests), where others say that they do not serve.
    #[must_use]
    pub fn does_not_know_then(self) -> Self {
        Self { word: Some(ServingStatus::ServiceUnknown), ..self }
    }

    /// Makes it say one word to who asks whether it serves, of those that it says by [`rests`](Self::rests), and no more: with
    /// `UNAVAILABLE`.
    #[must_use]
    pub fn says_one_word(self) -> Self {
        Self { is_terse: true, ..self }
    }

    /// Makes it take the question whether it serves, and never answer that. It answers calls even so.
    #[must_use]
    pub fn never_says_whether_it_serves(self) -> Self {
        Self { is_mute: true, ..self }
    }

    /// Makes it ill for a while, counted from its start: it says `said` to each call at once for as long as it `fails`, and
    /// then nothing to any until it is `well_again`.
    #[must_use]
    pub fn falls_ill(mut self, fails: Range<Duration>, said: Failed, well_again: Duration) -> Self {
        self.serves.illness = Some(Illness { fails, said, well_again });
        self
    }

    /// Makes it hang up on each connection as soon as it has accepted it.
    #[must_use]
    pub fn hangs_up(self) -> Self {
        Self { manner: Manner::HungUp, ..self }
    }

    /// Makes it accept connections and say nothing on them, not even its SETTINGS.
    #[must_use]
    pub fn says_nothing(self) -> Self {
        Self { manner: Manner::Ignored, ..self }
    }

    /// Makes it answer each connection as a server of HTTP/1.1 does that is called over HTTP/2.
    #[must_use]
    pub fn speaks_http1(self) -> Self {
        Self { manner: Manner::Misunderstood, ..self }
    }

    pub(crate) fn service(&self) -> &'static str {
        self.serves.service
    }

    /// Serves until the host is told to drain; it leaves at once then, as who does not know of drains.
    pub(crate) async fn run(self: Arc<Self>, host: HostContext) -> HostResult {
        let (listener, started, open) = (host.listen(GRPC_PORT).await?, Instant::now(), Rc::new(()));
        loop {
            let accepted = tokio::select! {
                biased;
                () = host.drain() => return Ok(()),
                accepted = listener.accept() => accepted?.0,
            };
            if Rc::strong_count(&open) > self.connections_max {
                continue;
            }
            let (server, open) = (Arc::clone(&self), Rc::clone(&open));
            tokio::task::spawn_local(async move {
                let _open = open;
                // What breaks a connection is told to those who call over it.
                server.serve(accepted, started).await.is_ok()
            });
        }
    }

    async fn serve(self: Arc<Self>, mut io: Io, started: Instant) -> Result<(), Trouble> {
        match self.manner {
            Manner::Served => {}
            Manner::HungUp => return Ok(()),
            Manner::Ignored => return ignore(io).await,
            Manner::Misunderstood => {
                io.write_all(NOT_HTTP2).await?;
                return ignore(io).await;
            }
        }
        let mut builder = server::Builder::new();
        if let Some(most) = self.streams_max {
            builder.max_concurrent_streams(most);
        }
        let mut connection = builder.handshake::<_, Bytes>(io).await?;
        let taken = Rc::new(Cell::new(0));
        while let Some(stream) = connection.accept().await {
            let (request, respond) = stream?;
            let (head, body) = request.into_parts();
            let call = Call { began: Instant::now(), head, respond };
            if sim::refuses_streams() {
                call.refuse();
                continue;
            }
            taken.set(taken.get() + 1);
            if self.calls_max == Some(taken.get()) {
                connection.graceful_shutdown();
            }
            let is_asked = call.head.uri.path() == Watch::PATH;
            if is_asked && self.is_mute {
                tokio::task::spawn_local(async move { call.wait_for_its_end().await.is_ok() });
                continue;
            }
            if let Some(rests) = self.rests.as_ref().filter(|_| is_asked) {
                let rests = [rests.start, rests.end].map(|after| started + after);
                let (word, is_terse) = (self.word, self.is_terse);
                tokio::task::spawn_local(
                    async move { call.tell_serving(rests, word, is_terse).await.is_ok() },
                );
                continue;
            }
            let server = Arc::clone(&self);
            // A caller that has gone does not want its answer.
            tokio::task::spawn_local(async move { call.answer(&server.serves, started, body).await.is_ok() });
        }
        Ok(())
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("service", &self.serves.service).finish_non_exhaustive()
    }
}

/// Reads what comes until the other side hangs up.
async fn ignore(mut io: Io) -> Result<(), Trouble> {
    tokio::io::copy(&mut io, &mut tokio::io::sink()).await?;
    Ok(())
}
