//! A host that is no node but another HTTP/2 server which speaks gRPC: what nodes call is not always one of their kind.
//!
//! It is a server of bare frames, of which nothing is shared with a node. It refuses streams unread while the plan says so
//! ([`sim::FaultKind::RefusedStreams`]), and tells the same facts and access lines as a node, so that all promises about
//! calls concern it, too.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::iter;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue};
use node::tracing::info;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message as _;
use sim::{HostContext, HostResult};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout_at};
use transport::health::{HealthCheckResponse, ServingStatus, Watch};
use transport::{Code, Contract, Io, Method};

use crate::clients::GRPC_PORT;
use crate::facts::{HandlerBegun, HandlerEnded, PushedBack, ServingTold, StreamSeen};
use crate::framing::{PREFIX_BYTES, framed};
use crate::rpc::{JsonMessage, Trouble};

/// What is percent-encoded in a `grpc-message`, besides all that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// What a server of HTTP/1.1 says to the beginning of HTTP/2.
const NOT_HTTP2: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

/// What a foreign server says in place of an answer: trailers and no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The status.
    pub code: Code,
    /// Its message.
    pub message: String,
    /// Its details, in base64 without padding, as `grpc-status-details-bin` has them; empty if there are none.
    pub details: String,
    /// What is said of being called again, as `grpc-retry-pushback-ms` has it, if anything is.
    pub pushback: Option<&'static str>,
}

type Answer = Box<dyn Fn(&[u8]) -> Result<Bytes, Failed> + Send + Sync>;

/// A server that is no node, and has one service.
pub struct Foreign {
    service: &'static str,
    rpcs: Vec<(&'static str, Answer)>,
    streams_max: Option<u32>,
    calls_max: Option<usize>,
    takes: Duration,
    rests: Option<Range<Duration>>,
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
            service: C::NAME,
            rpcs: Vec::new(),
            streams_max: None,
            calls_max: None,
            takes: Duration::ZERO,
            rests: None,
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
            let request = M::Request::decode(message).map_err(|error| Failed {
                code: Code::InvalidArgument,
                message: error.to_string(),
                details: String::new(),
                pushback: None,
            })?;
            Ok(answer(request)?.encode_to_vec().into())
        };
        self.rpcs.push((M::PATH, Box::new(typed)));
        self
    }

    /// Lets a connection carry so many calls at a time, by `SETTINGS_MAX_CONCURRENT_STREAMS`.
    #[must_use]
    pub fn streams_max(self, most: u32) -> Self {
        Self { streams_max: Some(most), ..self }
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
    pub fn takes(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    /// Makes it tell whether it serves to those who ask (`grpc.health.v1.Health/Watch`), which it does not between these
    /// times since it was started. It answers calls even so.
    #[must_use]
    pub fn rests(self, rests: Range<Duration>) -> Self {
        Self { rests: Some(rests), ..self }
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
        self.service
    }

    /// Serves until the host is told to drain; it leaves at once then, as who does not know of drains.
    pub(crate) async fn run(self: Arc<Self>, host: HostContext) -> HostResult {
        let (listener, started) = (host.listen(GRPC_PORT).await?, Instant::now());
        loop {
            let accepted = tokio::select! {
                biased;
                () = host.drain() => return Ok(()),
                accepted = listener.accept() => accepted?.0,
            };
            let server = Arc::clone(&self);
            // What breaks a connection is told to those who call over it.
            tokio::task::spawn_local(async move { server.serve(accepted, started).await.is_ok() });
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
            if let Some(rests) = self.rests.as_ref().filter(|_| call.head.uri.path() == Watch::PATH) {
                let rests = [rests.start, rests.end].map(|after| started + after);
                tokio::task::spawn_local(async move { call.tell_serving(rests).await.is_ok() });
                continue;
            }
            let server = Arc::clone(&self);
            // A caller that has gone does not want its answer.
            tokio::task::spawn_local(async move { call.answer(&server, body).await.is_ok() });
        }
        Ok(())
    }

    /// The rpc at `path`.
    fn rpc(&self, path: &str) -> Option<(&'static str, &Answer)> {
        let found = self.rpcs.iter().find(|(known, _)| *known == path)?;
        Some((found.0, &found.1))
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("service", &self.service).finish_non_exhaustive()
    }
}

fn head() -> http::Response<()> {
    let mut head = http::Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    head
}

/// Reads what comes until the other side hangs up.
async fn ignore(mut io: Io) -> Result<(), Trouble> {
    tokio::io::copy(&mut io, &mut tokio::io::sink()).await?;
    Ok(())
}

/// A call that has come in.
struct Call {
    began: Instant,
    head: http::request::Parts,
    respond: SendResponse<Bytes>,
}

impl Call {
    fn refuse(mut self) {
        let path = self.head.uri.path().to_owned();
        sim::tell(StreamSeen { path, refused: true }, self.id());
        self.respond.send_reset(Reason::REFUSED_STREAM);
    }

    /// Tells whether its server serves, and again when it stops and when it begins to.
    async fn tell_serving(mut self, rests: [Instant; 2]) -> Result<(), Trouble> {
        let mut body = self.respond.send_response(head(), false)?;
        let changes = rests.into_iter().filter(|change| *change > self.began);
        for at in iter::once(self.began).chain(changes) {
            let gone = poll_fn(|cx| body.poll_reset(cx));
            if timeout_at(at, gone).await.is_ok() {
                return Ok(());
            }
            let status = match at < rests[0] || at >= rests[1] {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            sim::tell(ServingTold { serves: status == ServingStatus::Serving }, None);
            let word = HealthCheckResponse { status: status.into() };
            body.send_data(framed(&word.encode_to_vec())?, false)?;
        }
        poll_fn(|cx| body.poll_reset(cx)).await?;
        Ok(())
    }

    async fn answer(mut self, server: &Foreign, mut body: RecvStream) -> Result<(), Trouble> {
        let mut message = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            message.extend_from_slice(&data);
        }
        let rpc = server.rpc(self.head.uri.path());
        let said = match rpc {
            Some((path, answer)) => {
                let (service, worker, is_local) = (server.service, 0, false);
                let (is_streaming, left) = (false, self.left());
                let is_repeated = self.head.headers.contains_key("x-caller-repeats");
                let begun = HandlerBegun { service, path, worker, is_streaming, left, is_local, is_repeated };
                sim::tell(begun, self.id());
                sleep(server.takes).await;
                let said = answer(message.get(PREFIX_BYTES..).unwrap_or_default());
                sim::tell(HandlerEnded { service, path, worker, is_streaming }, self.id());
                if let Err(Failed { pushback: Some(pushback), .. }) = &said {
                    let wait = pushback.parse().ok().map(Duration::from_millis);
                    sim::tell(PushedBack { path, wait }, self.id());
                }
                said
            }
            None => Err(Failed {
                code: Code::Unimplemented,
                message: "no such rpc".to_owned(),
                details: String::new(),
                pushback: None,
            }),
        };
        self.log();
        self.respond(said)
    }

    /// The access line, as a node has it.
    fn log(&self) {
        let request_id = self.id().unwrap_or_default();
        let path = self.head.uri.path();
        let duration_ms = self.began.elapsed().as_micros() as f64 / 1000.0;
        info!(target: "access", request_id, path, duration_ms, "call");
    }

    fn respond(&mut self, said: Result<Bytes, Failed>) -> Result<(), Trouble> {
        let mut head = head();
        if let Some(id) = self.head.headers.get("x-request-id") {
            head.headers_mut().insert("x-request-id", id.clone());
        }
        match said {
            Ok(message) => {
                let mut body = self.respond.send_response(head, false)?;
                body.send_data(framed(&message)?, false)?;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                body.send_trailers(trailers)?;
            }
            Err(Failed { code, message, details, pushback }) => {
                let message = utf8_percent_encode(&message, ENCODED).to_string();
                let headers = head.headers_mut();
                headers.insert("grpc-status", HeaderValue::from(code as i32));
                headers.insert("grpc-message", HeaderValue::from_str(&message)?);
                if !details.is_empty() {
                    headers.insert("grpc-status-details-bin", HeaderValue::from_str(&details)?);
                }
                if let Some(pushback) = pushback {
                    headers.insert("grpc-retry-pushback-ms", HeaderValue::from_static(pushback));
                }
                self.respond.send_response(head, true)?;
            }
        }
        Ok(())
    }

    fn id(&self) -> Option<&str> {
        self.head.headers.get("x-request-id")?.to_str().ok()
    }

    /// What is left of the call's deadline, by its `grpc-timeout` and the time since it came in.
    fn left(&self) -> Option<Duration> {
        let timeout = self.head.headers.get("grpc-timeout")?.to_str().ok()?;
        Some(duration_of(timeout)?.saturating_sub(self.began.elapsed()))
    }
}

/// Reads a `grpc-timeout`: a number, and the letter of its unit.
fn duration_of(timeout: &str) -> Option<Duration> {
    let (number, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_in_its_unit() {
        assert_eq!(duration_of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(duration_of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(["", "S", "3", "3x"].map(duration_of), [None; 4]);
    }
}
