//! The edge for incoming gRPC calls: serves one accepted connection.

use std::borrow::Cow;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::server::StreamingService;
use tracing::debug;

use super::answer::{self, Answer, Messages, code_in};
use super::codec::Raw;
use super::metered::Metered;
use super::request::Request;
use super::{Keepalive, preface, request};
use crate::access::{AccessLine, Outcome};
use crate::budget::{Buffered, Share};
use crate::context::CallContext;
use crate::criticality::Criticality;
use crate::deadline;
use crate::drain::OpenWork;
use crate::endpoint::Endpoint;
use crate::gauges::{self, EdgeCounts};
use crate::metadata;
use crate::net::{CallerAddress, Io};
use crate::payload::{Message, Payload};
use crate::router::Router;
use crate::status::{self, Result};
use crate::timeout;

/// A client that cancels this many calls faster than they are noticed is cut off (CVE-2023-44487).
/// Deadlines that pass together, as in an overload, must stay below it.
const RESETS_MAX: usize = 1024;

/// How much of one call's request HTTP/2 keeps that nobody reads, in bytes: HTTP/2's own default. Only the handler of
/// a streamed request may leave something unread, so that a worker has no more than this for each of `--max-streams`.
const STREAM_WINDOW: u32 = 65_535;

/// The same for all calls of one connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How much of one answer HTTP/2 takes that has not been written, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// The largest head, in bytes as HTTP/2 counts them. One with more metadata than a call may carry is refused with a
/// request id up to here; HTTP/2 itself refuses what is larger, with 431 and without an id.
const HEAD_MAX: u32 = 32 * 1024;

/// The gRPC edge of one worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server(Rc<Edge>);

/// What all connections share.
#[derive(Debug)]
struct Edge {
    router: Router,
    deadline: Duration,
    keepalive: Keepalive,
    counts: Arc<EdgeCounts>,
}

impl Server {
    /// Serves the services of `router`. A unary call that brings no deadline gets `deadline`; a stream
    /// that brings none has none. A client that is silent for longer than `keepalive` allows is gone.
    #[must_use]
    pub fn new(router: Router, deadline: Duration, keepalive: Keepalive) -> Self {
        let counts = EdgeCounts::of(gauges::GRPC, router.gauges());
        Self(Rc::new(Edge { router, deadline, keepalive, counts }))
    }

    /// Serves one accepted connection until its client closes it, or a drain has started and the calls
    /// on it have ended. Must run on the worker of this server.
    pub async fn serve_connection(&self, io: Io, caller: CallerAddress, open: OpenWork) {
        let silent = self.0.counts.silent.one();
        let prefaced = tokio::select! {
            biased;
            prefaced = preface::read(io, caller) => prefaced,
            // Nothing was asked yet, so nothing is lost.
            () = open.drain_started() => return,
        };
        let io = match prefaced {
            Ok(Some(io)) => io,
            Ok(None) => return debug!(peer = %caller, "not HTTP/2"),
            Err(error) => return debug!(peer = %caller, %error, "no HTTP/2 preface"),
        };
        drop(silent);
        let _one = self.0.counts.connections.one();
        let (edge, share) = (self.0.clone(), Share::of(self.0.router.budget()));
        let metered = Metered::new(io.clone(), &share);
        // Whether the client knows the names of the headers that vary.
        let is_named = Rc::new(Cell::new(false));
        let service = service_fn(move |mut request| {
            let (edge, buffered, is_named) = (edge.clone(), Buffered::of(&share), is_named.clone());
            // At once, and not when its turn comes: until then, those of all other connections may be there, too.
            let head = taken(&buffered, &mut request);
            async move {
                let answer = serve_call(&edge, caller, (buffered, head), &is_named, request).await;
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let mut connection = pin!(self.0.http2().serve_connection(TokioIo::new(metered), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = open.drain_started() => {
                connection.as_mut().graceful_shutdown();
                let ended = connection.await;
                if ended.is_ok() {
                    io.linger().await;
                }
                ended
            }
        };
        if let Err(error) = ended {
            debug!(peer = %caller, %error, "connection lost");
        }
    }
}

impl Edge {
    fn http2(&self) -> Builder<Local> {
        // Well above what a service takes on: HTTP/2 holds back what exceeds this, silently, where admission refuses
        // it at once. So does `Metered` where a client leaves many unread that are refused.
        let limits = self.router.limits();
        let calls = u32::try_from(limits.calls.saturating_add(limits.streams)).unwrap_or(u32::MAX);
        let streams_max = calls.saturating_mul(2).max(1024);
        let mut builder = Builder::new(Local(self.counts.clone()));
        builder
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .keep_alive_interval(self.keepalive.interval)
            .keep_alive_timeout(self.keepalive.timeout)
            .max_concurrent_streams(streams_max)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(RESETS_MAX);
        builder
    }
}

/// Runs hyper's tasks where the actors are.
#[derive(Debug, Clone)]
struct Local(Arc<EdgeCounts>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, stream: F) {
        let counts = self.0.clone();
        // In a box of its own: it is large, and would be moved several times.
        let stream = Box::pin(stream);
        // It counts as a call.
        tokio::task::spawn_local(async move {
            let _one = counts.calls.one();
            answer::run_stream(stream).await;
        });
    }
}

/// Takes what the head of a call weighs. Of one for which there is no room nothing is kept but what the refusal needs.
fn taken(buffered: &Buffered, request: &mut http::Request<Incoming>) -> Result<()> {
    let uri = request.uri();
    let target = [uri.path_and_query().map(|said| said.as_str()), uri.authority().map(|said| said.as_str())];
    let target: usize = target.into_iter().flatten().map(str::len).sum();
    let taken = buffered.take(target + request.method().as_str().len() + metadata::weight(request.headers()));
    if taken.is_err() {
        *request.headers_mut() = metadata::of_refused(request.headers());
        // A copy: what HTTP/2 made is a piece of the whole head.
        *request.uri_mut() = request.uri().path().parse().unwrap_or_default();
    }
    taken
}

async fn serve_call(
    edge: &Edge,
    caller: CallerAddress,
    (buffered, head): (Buffered, Result<()>),
    is_named: &Cell<bool>,
    request: http::Request<Incoming>,
) -> http::Response<Answer> {
    answer::not_reset().await;
    let (mut parts, body) = request.into_parts();
    let endpoint = edge.router.endpoint(parts.uri.path());
    let headers = take_headers(&mut parts.headers);
    let request_id = metadata::request_id(&headers);
    let criticality = Criticality::said(&headers).unwrap_or_default();
    let refused = refusal(&parts, &headers);
    let repeated_outside = metadata::is_repeated_outside(&headers);
    let timeout = headers.get(metadata::GRPC_TIMEOUT).map(timeout::parse);
    let unary = endpoint.as_ref().is_some_and(|endpoint| endpoint.is_unary());
    let (deadline, read_within) = bounds(timeout, unary, edge.deadline);
    let context = CallContext::new(
        request_id,
        deadline,
        endpoint.as_ref().map(|endpoint| endpoint.admission.clone()),
        caller,
        metadata::of_user(headers),
    )
    .mattering(criticality)
    .repeated_outside(repeated_outside)
    .counting(buffered);
    let path = match &endpoint {
        Some(endpoint) => Cow::Borrowed(endpoint.path),
        None => Cow::Owned(parts.uri.path().to_owned()),
    };
    let method = crate::access::method_name(parts.method.as_str());
    let line = AccessLine::new(context.clone(), method, path, Outcome::Grpc("CANCELLED"));
    let response = match (refused, endpoint, timeout) {
        (Some(refused), _, _) => refused,
        (None, None, _) => status::unknown_method(parts.uri.path()).into_http(),
        (None, Some(_), Some(None)) => Status::invalid_argument("malformed grpc-timeout").into_http(),
        (None, Some(endpoint), _) => {
            let limit = edge.router.limits().message_size;
            let body = Request::of(body, &context, limit, endpoint.request_streaming);
            let dispatch = Dispatch { endpoint, context: context.clone(), head, limit, read_within };
            let request = http::Request::from_parts(parts, body);
            let mut grpc = tonic::server::Grpc::new(Raw).max_decoding_message_size(limit);
            context.scope(grpc.streaming(dispatch, request)).await
        }
    };
    finish(response, &context, line, is_named.replace(true))
}

/// When a call ends at the latest, and how long its one message may take to come where that is longer: a caller may
/// give its call an hour, and not so long to say what it wants.
fn bounds(
    timeout: Option<Option<Duration>>,
    unary: bool,
    most: Duration,
) -> (Option<Instant>, Option<Duration>) {
    let deadline = match timeout {
        Some(timeout) => timeout.and_then(deadline::after),
        None if unary => deadline::after(most),
        None => None,
    };
    let is_soon = timeout.map_or(unary, |timeout| timeout.is_some_and(|timeout| timeout <= most));
    (deadline, (!is_soon).then_some(most))
}

/// Takes the headers away, all but the one that tonic's framing needs.
fn take_headers(headers: &mut HeaderMap) -> HeaderMap {
    // A name that is parsed already: a text would be, for each call.
    const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
    let mut taken = std::mem::take(headers);
    if let Some(encoding) = taken.remove(ENCODING) {
        headers.insert(ENCODING, encoding);
    }
    taken
}

/// The answer to what is HTTP/2 but not gRPC.
fn refusal(parts: &http::request::Parts, headers: &HeaderMap) -> Option<http::Response<Body>> {
    let mut response = http::Response::new(Body::empty());
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if parts.method != Method::POST {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    } else if !is_grpc(content_type) {
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    } else {
        return None;
    }
    Some(response)
}

/// `application/grpc`, with or without a subtype or parameters. Its namesake grpc-web frames differently.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Adds the request id, and hands the access line to the body, which knows when the call has ended.
fn finish(
    response: http::Response<Body>,
    context: &CallContext,
    mut line: AccessLine,
    is_named: bool,
) -> http::Response<Answer> {
    let (mut parts, body) = response.into_parts();
    metadata::insert_request_id(&mut parts.headers, context.request_id(), is_named);
    if let Some(code) = code_in(&parts.headers) {
        line.write(Outcome::Grpc(code));
    } else if parts.status != StatusCode::OK {
        line.write(Outcome::Http(parts.status.as_u16()));
    }
    http::Response::from_parts(parts, Answer::new(body, context, line))
}

/// Takes one call from tonic's framing to its endpoint.
struct Dispatch {
    endpoint: Arc<Endpoint>,
    context: CallContext,
    /// Whether there is room for the head.
    head: Result<()>,
    limit: usize,
    /// How long its message may take to come, where the deadline gives it longer.
    read_within: Option<Duration>,
}

impl StreamingService<Bytes> for Dispatch {
    type Response = Message;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<tonic::Response<Messages>>>;

    fn call(&mut self, request: tonic::Request<tonic::Streaming<Bytes>>) -> Self::Future {
        let (endpoint, context, limit) = (self.endpoint.clone(), self.context.clone(), self.limit);
        let (head, read_within) = (std::mem::replace(&mut self.head, Ok(())), self.read_within);
        Box::pin(async move {
            let call = async {
                head?;
                metadata::check_size(context.metadata())?;
                let (permit, mut messages) = (endpoint.admit(&context)?, request.into_inner());
                if endpoint.request_streaming {
                    return endpoint.call(permit, &context, request::stream(messages, limit)).await;
                }
                let (permit, message) = {
                    let message = pin!(request::message(&mut messages, limit, read_within));
                    endpoint.read(&context, permit, message).await?
                };
                drop(messages);
                let size = message.len();
                let answer = endpoint.call(permit, &context, Payload::One(Message::Encoded(message))).await;
                request::give_back(&context, size);
                answer
            };
            let answer = deadline::within(context.deadline(), pin!(call)).await;
            if !matches!(&answer, Ok(answer) if matches!(answer.body, Payload::Stream(_))) {
                context.buffered().inspect(|buffered| buffered.answered());
            }
            let answer = answer?;
            let mut response = tonic::Response::new(Messages::of(answer.body, &context)?);
            *response.metadata_mut() = answer.metadata;
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(10);
    const HOUR: Duration = Duration::from_secs(3600);

    /// How long a call may take, roughly, and how long its message may take to come where that is less.
    fn bounded(timeout: Option<Duration>, unary: bool) -> (Option<Duration>, Option<Duration>) {
        let (deadline, read_within) = bounds(timeout.map(Some), unary, MOST);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        (deadline.map(|at| Duration::from_secs_f64(left(at).as_secs_f64().round())), read_within)
    }

    #[test]
    fn a_call_gets_the_nodes_deadline_where_it_brings_none_unless_it_is_a_stream() {
        assert_eq!(bounded(None, true), (Some(MOST), None));
        assert_eq!(bounded(None, false), (None, Some(MOST)));
    }

    #[test]
    fn a_message_comes_within_the_nodes_deadline_however_long_its_call_may_take() {
        assert_eq!(bounded(Some(HOUR), true), (Some(HOUR), Some(MOST)));
        assert_eq!(bounded(Some(MOST), true), (Some(MOST), None));
        assert_eq!(bounded(Some(MOST), false), (Some(MOST), None));
    }
}
