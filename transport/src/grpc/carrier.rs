//! The carrier of outgoing calls: a service that listens at one or more addresses.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use http_body::Frame;
use http_body_util::BodyExt as _;
use http_body_util::combinators::{MapErr, MapFrame};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::Service;

use super::Keepalive;
use super::codec::{Raw, repair_size};
use super::details::{checked, without_broken_details};
use super::endpoints::{Endpoints, Wanted};
use super::incoming::Counted;
use super::line::Line;
use super::outgoing::{Ending, outgoing};
use super::rendezvous;
use super::sent::{Sent, Watched};
use crate::channel::{Request, Response};
use crate::gauges::{Count, Gauge, Gauges, Holds, Reading};
use crate::metadata;
use crate::net::{Address, Net};
use crate::payload::{Message, MessageStream, Payload, wrong_count};
use crate::request_id::RequestId;
use crate::status::{self, NotSent, Result};
use crate::timeout;

/// Carries calls to one service over gRPC. Cheap to clone; it must stay on one worker.
///
/// There is one HTTP/2 connection to each address, opened with the first call. A call goes to the better of two
/// that are connected, by what their calls take and how many they have; those that fail call after call are left out,
/// and tried now and then. A call that finds none waits for the first to be connected, and fails at once with
/// `UNAVAILABLE` when all are down and none is due to be tried again. A call that provably never left goes to another connection by itself.
#[derive(Clone)]
pub struct Grpc(Arc<Inner>);

struct Inner {
    service: &'static str,
    endpoints: Arc<Endpoints>,
    message_size: usize,
    calls: Count,
}

impl Grpc {
    /// A carrier to `service` at `addresses`, of which there is at least one. Nothing is connected yet.
    #[must_use]
    pub fn new(
        service: &'static str,
        addresses: &[Address],
        net: &Arc<dyn Net>,
        keepalive: Keepalive,
        message_size: usize,
    ) -> Self {
        Self::with_health_check(service, addresses, net, keepalive, message_size, None)
    }

    /// The same, where each connection carries calls only while the callee says that the service of the full name `health`
    /// serves (gRFC A17). One that does not know of health is taken to serve.
    #[must_use]
    pub fn with_health_check(
        service: &'static str,
        addresses: &[Address],
        net: &Arc<dyn Net>,
        keepalive: Keepalive,
        message_size: usize,
        health: Option<&'static str>,
    ) -> Self {
        assert!(!addresses.is_empty(), "{service} has no address");
        let endpoints = Endpoints::new(service, addresses, net, keepalive, health);
        Self(Arc::new(Inner { service, endpoints, message_size, calls: Count::default() }))
    }

    /// Lets `gauges` tell of its calls and connections.
    pub fn watch(&self, gauges: &Gauges) {
        gauges.watch(&self.0);
    }

    /// Carries a call; once more if the callee says that it has not read it, and if there is a request to
    /// send again (gRFC A6 calls this a transparent retry).
    async fn carry(self, mut request: Request) -> Result<Response> {
        let _one = self.0.calls.one();
        let Some(again) = request.copied(request.attempt) else {
            return self.clone().carry_once(request).await;
        };
        match self.clone().carry_once(request).await {
            Err(status) if status::proof_not_sent(&status) == Some(NotSent::Refused) => {
                self.clone().carry_once(again).await
            }
            answer => answer,
        }
    }

    async fn carry_once(self, request: Request) -> Result<Response> {
        let path = PathAndQuery::from_static(request.path);
        let (service, limit, streaming) = (self.0.service, self.0.message_size, request.streaming);
        let is_whole = matches!(request.body, Payload::One(_));
        let key = key_of(&request);
        let (messages, mut streamed) = outgoing(request.body);
        let mut outgoing = tonic::Request::from_parts(request.metadata, Default::default(), messages);
        metadata::insert_attempt(outgoing.metadata_mut().as_mut(), request.attempt, request.repeated_outside);
        let Request { attempt, trail, wait_for_ready, request_id, .. } = request;
        trail.attempts().into_iter().for_each(|attempts| attempts.add());
        let wanted = Wanted { attempt, trail: trail.clone(), wait_for_ready, key };
        let failed_with = |status: Status| {
            let pushback = metadata::pushback(status.metadata().as_ref());
            pushback.into_iter().for_each(|pushback| trail.pushes_back(attempt, pushback));
            incoming_status(status, service, limit)
        };
        let mut grpc = tonic::client::Grpc::new(Wire {
            callee: self,
            request_id,
            deadline: request.deadline,
            is_whole,
            ending: streamed.ending(),
            streaming,
            wanted,
        })
        .max_decoding_message_size(limit);
        let answer = streamed.or(grpc.streaming(outgoing, path, Raw)).await;
        let answer = answer.map_err(&failed_with)?;
        let (headers, messages, _) = answer.into_parts();
        if streaming {
            let metadata = metadata::of_user(headers.into_headers());
            let messages = streamed.until_the_end_of(incoming(messages, service, limit));
            return Ok(Response { metadata, body: Payload::Stream(messages) });
        }
        let answer = streamed.or(single(messages)).await;
        let (message, trailers) = answer.map_err(&failed_with)?;
        let [headers, trailers] =
            [headers, trailers].map(|metadata| metadata::of_user(metadata.into_headers()));
        let metadata = MetadataMap::from_headers(metadata::join(headers, trailers));
        Ok(Response { metadata, body: Payload::One(Message::Encoded(message)) })
    }
}

impl Service<Request> for Grpc {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.clone().carry(request))
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc")
            .field("service", &self.0.service)
            .field("endpoints", &self.0.endpoints)
            .finish_non_exhaustive()
    }
}

impl Holds for Inner {
    fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::CalleeCallsInFlight, self.service, "", self.calls.get());
        self.endpoints.tell(reading);
    }
}

/// The hash of its key, where its policy says which field that is.
fn key_of(request: &Request) -> Option<u64> {
    let field = request.policy.key.as_ref()?.number;
    match &request.body {
        Payload::One(Message::Encoded(message)) => Some(rendezvous::key_in(message, field)),
        Payload::One(Message::Value(_)) | Payload::Stream(_) => None,
    }
}

/// Sends one HTTP request, over whichever connection takes it.
#[derive(Clone)]
struct Wire {
    callee: Grpc,
    request_id: RequestId,
    deadline: Option<Instant>,
    /// Whether the request is one message, so that nothing begins before its body is there.
    is_whole: bool,
    /// When the call is over, where the request may still go on by then.
    ending: Option<Ending>,
    /// Whether the answer is a stream.
    streaming: bool,
    wanted: Wanted,
}

type ResponseBody = Counted<
    Watched<MapFrame<MapErr<Incoming, fn(hyper::Error) -> Status>, fn(Frame<Bytes>) -> Frame<Bytes>>>,
>;

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<ResponseBody>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(send(self.clone(), request))
    }
}

async fn send(wire: Wire, mut request: http::Request<Body>) -> Result<http::Response<ResponseBody>> {
    let Wire { callee, request_id, deadline, is_whole, ending, streaming, wanted } = wire;
    if let Some(ending) = ending {
        request = request.map(|body| ending.of(body));
    }
    let endpoints = &callee.0.endpoints;
    // Each attempt that fails has used up a connection, so this many have tried every address, and
    // the connection that was lost with GOAWAY in this very moment.
    for _ in 0..=endpoints.count() {
        let chosen = endpoints.connected(&wanted).await?;
        let (mut sent, mut sender) = Sent::to(chosen, endpoints, deadline);
        address(&mut request, sent.line());
        let (headers, is_named) = (request.headers_mut(), sent.line().is_named());
        metadata::insert_request_id(headers, &request_id, is_named);
        if let Some(deadline) = deadline {
            let left = timeout::encode(deadline.saturating_duration_since(sent.at()));
            headers.insert(metadata::GRPC_TIMEOUT, metadata::varying(left, is_named));
        }
        match sender.try_send_request(request).await {
            Ok(mut response) => {
                let now = Instant::now();
                wanted.trail.answered(wanted.attempt, now);
                sent.has_head(&response, streaming, now);
                without_broken_details(response.headers_mut());
                return Ok(response.map(|body| {
                    let body = body.map_err(repair as _).map_frame(checked as _);
                    Counted::of(Watched::new(body, sent), callee.0.message_size)
                }));
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(sent.failed(unanswered(error.into_error(), is_whole))),
            },
        }
    }
    Err(status::not_sent(NotSent::Unreachable, format!("{} closes its connections", callee.0.service)))
}

fn address(request: &mut http::Request<Body>, line: &Line) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(line.authority().clone());
    *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path make a URI");
}

/// The status of a call that got no answer. One that waited for a stream when its connection ended was dropped with what
/// hyper had in hand: not a byte of its body has gone out, so that no handler of a whole message can have begun.
fn unanswered(error: hyper::Error, is_whole: bool) -> Status {
    if is_whole && error.is_user() {
        return status::not_sent(NotSent::Refused, "the peer took no more calls on its connection");
    }
    repair(error)
}

/// The status of a broken connection or stream, and the error itself as its source.
fn repair(error: hyper::Error) -> Status {
    let Some(mut status) = reading(&error) else { return status::lost(Arc::new(error)) };
    if status.source().is_none() {
        status.set_source(Arc::new(error));
    }
    status
}

/// What a broken connection or stream means for the call; none if only that it is lost. tonic's own reading
/// (`UNKNOWN` for a lost connection, `CANCELLED` for GOAWAY) would mislead whoever retries. Stream errors are mapped
/// as in <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn reading(error: &hyper::Error) -> Option<Status> {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>())?;
    match h2.reason() {
        // The callee says where it stopped reading, and this call came after.
        Some(h2::Reason::NO_ERROR) if h2.is_go_away() && h2.is_remote() => {
            Some(status::not_sent(NotSent::Refused, "the peer is shutting down"))
        }
        Some(h2::Reason::REFUSED_STREAM) => {
            Some(status::not_sent(NotSent::Refused, "the peer refused the call"))
        }
        _ if !h2.is_reset() => None,
        Some(h2::Reason::CANCEL) => Some(Status::cancelled("the peer cancelled the call")),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => {
            Some(Status::resource_exhausted("the peer asks for fewer calls"))
        }
        Some(h2::Reason::INADEQUATE_SECURITY) => Some(Status::permission_denied("the peer asks for TLS")),
        _ => Some(Status::internal("the peer broke the HTTP/2 protocol")),
    }
}

/// Gives a status the form that it has on every carrier.
fn incoming_status(mut status: Status, service: &'static str, limit: usize) -> Status {
    // What is worded here says why in its source.
    if status.code() == Code::Unavailable && status.source().is_none() {
        status = status::in_words_of(service, status);
    }
    let own = std::mem::take(status.metadata_mut());
    *status.metadata_mut() = metadata::of_user(own.into_headers());
    // A call that ran into its deadline over there may be told so here a moment before its own timer.
    debug_assert!(status.code() != Code::Ok, "an answer is no error");
    repair_size(status, limit)
}

fn incoming(messages: tonic::Streaming<Bytes>, service: &'static str, limit: usize) -> MessageStream {
    let repair = move |status| incoming_status(status, service, limit);
    messages.map(move |item| item.map(Message::Encoded).map_err(repair)).boxed()
}

/// Reads the one message of an answer that is not streamed, and what comes after it.
async fn single(mut messages: tonic::Streaming<Bytes>) -> Result<(Bytes, MetadataMap)> {
    let message = messages.message().await?.ok_or_else(wrong_count)?;
    if messages.message().await?.is_some() {
        return Err(wrong_count());
    }
    Ok((message, messages.trailers().await?.unwrap_or_default()))
}
