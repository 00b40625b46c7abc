//! A request over REST that leads to a call: the call is made of it, and the answer of its outcome.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tracing::warn;

use super::headers::{LetThrough, add_metadata, add_retry_after};
use super::request::{access_line, caller, finish, request_id};
use crate::budget::Buffered;
use crate::context::CallContext;
use crate::deadline;
use crate::endpoint::Endpoint;
use crate::gauges::EdgeCounts;
use crate::metadata;
use crate::payload::Payload;
use crate::problem;
use crate::route::Route;
use crate::router::Router;
use crate::status::{self, Result};
use crate::transcode::{Incoming, Transcoder};

/// What all requests share.
pub(super) struct Edge {
    pub(super) router: Router,
    pub(super) deadline: Duration,
    pub(super) let_through: LetThrough,
    /// The header that has the number of attempts, if any has.
    pub(super) attempts_header: Option<HeaderName>,
    pub(super) counts: Arc<EdgeCounts>,
}

/// Where a request goes.
pub(super) struct Target {
    pub(super) edge: Rc<Edge>,
    pub(super) route: Route,
    pub(super) transcoder: Transcoder,
    pub(super) endpoint: Arc<Endpoint>,
}

/// Makes a call of a request, and an answer of its outcome.
pub(super) async fn answer(target: Rc<Target>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let _one = target.edge.counts.calls.one();
    let context = call_context(&target, &request);
    let line = access_line(&context, &request);
    let mut response = match context.scope(call(&target, &context, &request, body)).await {
        Ok((metadata, json)) => {
            let mut response = HttpResponse::Ok().content_type("application/json").body(json);
            add_metadata(&mut response, &metadata);
            response
        }
        Err(failure) => failure.into_response(&context),
    };
    if let (Some(name), Some(attempts)) = (&target.edge.attempts_header, context.attempts()) {
        response.headers_mut().insert(name.clone(), attempts.get().into());
    }
    finish(response, &context, line)
}

async fn call(
    target: &Target,
    context: &CallContext,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<(MetadataMap, web::Bytes), Failure> {
    let route = &target.route;
    let answer = async {
        let buffered = context.buffered().expect("the call came over this edge");
        buffered.take(size(request))?;
        metadata::check_size(context.metadata())?;
        let permit = target.endpoint.admit(context)?;
        let (permit, body) = if route.body {
            let limit = target.edge.router.limits().message_size;
            let body = pin!(read_json(request, body, buffered, limit));
            let (permit, body) = target.endpoint.read(context, permit, body).await?;
            (permit, Some(body))
        } else {
            no_body(request)?;
            (permit, None)
        };
        let incoming = Incoming {
            query: request.query_string(),
            path: path_values(route, request),
            body: body.as_ref().map(|body| body.bytes.as_slice()),
        };
        let message = target.transcoder.decode(&incoming)?;
        let read = body.map_or(0, |body| body.held);
        let answer = target.endpoint.call(permit, context, Payload::One(message)).await;
        buffered.give_back(read);
        let answer = answer?;
        let json = target.transcoder.encode(answer.body.single().await?, route)?;
        buffered.take(json.len())?;
        Ok((answer.metadata, buffered.outgoing(json.into())))
    };
    deadline::within(context.deadline(), pin!(answer)).await
}

fn path_values<'a>(route: &Route, request: &'a HttpRequest) -> Vec<(&'static str, &'a str)> {
    route.path_fields().map(|field| (field, request.match_info().get(field).unwrap_or_default())).collect()
}

fn no_body(request: &HttpRequest) -> Result<()> {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if length || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Status::invalid_argument("expected a request without a body"));
    }
    Ok(())
}

/// The size of a request's head.
fn size(request: &HttpRequest) -> usize {
    let fields =
        request.headers().iter().map(|(name, value)| metadata::field(name.as_str(), value.as_bytes()));
    request.uri().path().len() + request.query_string().len() + fields.sum::<usize>()
}

/// The body, in a buffer that is taken from what may be held before it is made; and how large that is.
async fn read_json(
    request: &HttpRequest,
    mut body: web::Payload,
    buffered: &Buffered,
    limit: usize,
) -> Result<Body, Failure> {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.to_ascii_lowercase().starts_with(b"application/json") {
        return Err(Failure::Http(415, Code::InvalidArgument, "expected content-type application/json"));
    }
    let too_large = || Failure::Http(413, Code::ResourceExhausted, "the body is larger than the limit");
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let mut read = Body::of(length.unwrap_or(0), buffered)?;
    while let Some(chunk) = body.next().await {
        let unread = |_| Failure::Http(400, Code::InvalidArgument, "the body could not be read");
        let chunk = chunk.map_err(unread)?;
        if read.bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.append(&chunk, buffered)?;
    }
    Ok(read)
}

/// A body, or the beginning of one.
struct Body {
    bytes: Vec<u8>,
    /// What it takes of what may be held.
    held: usize,
}

impl Body {
    /// Nothing yet of a body of so many bytes.
    fn of(length: usize, buffered: &Buffered) -> Result<Self> {
        buffered.take(length)?;
        Ok(Self { bytes: Vec::with_capacity(length), held: length })
    }

    /// Of a body whose length was not announced, the buffer grows: while that is copied, the old one is there, too.
    fn append(&mut self, chunk: &[u8], buffered: &Buffered) -> Result<()> {
        let length = self.bytes.len() + chunk.len();
        if length > self.held {
            let mut grown = Self::of(length.max(self.held * 2), buffered)?;
            grown.bytes.extend_from_slice(&self.bytes);
            buffered.give_back(std::mem::replace(self, grown).held);
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// Why there is no answer.
enum Failure {
    /// The call failed.
    Call(Status),
    /// There was no call: an HTTP status, the code next to it, and why.
    Http(u16, Code, &'static str),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

impl Failure {
    fn into_response(self, context: &CallContext) -> HttpResponse {
        let id = context.request_id();
        match self {
            Self::Http(http, code, detail) => problem::of_http(http, code, detail, id),
            Self::Call(error) => {
                let code = status::code_name(error.code());
                if status::http_status(error.code()).is_server_error() {
                    let not_sent = status::proof_not_sent(&error).is_some();
                    context.sync_scope(|| {
                        warn!(code, error = error.message(), not_sent, "request failed");
                    });
                }
                let mut response = problem::of_status(&error, id);
                add_metadata(&mut response, error.metadata());
                add_retry_after(&mut response, error.metadata());
                response
            }
        }
    }
}

fn call_context(target: &Target, request: &HttpRequest) -> CallContext {
    let edge = &target.edge;
    let (id, deadline) = (request_id(request.headers()), deadline::after(edge.deadline));
    let (metadata, criticality) = edge.let_through.metadata_of(request.headers());
    let admission = Some(target.endpoint.admission.clone());
    let attempts = edge.attempts_header.as_ref().map(|_| Arc::default());
    CallContext::new(id, deadline, admission, caller(request), metadata)
        .mattering(criticality)
        .counting_attempts(attempts)
        .counting(Buffered::alone(edge.router.budget()))
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest as _;
    use actix_web::test::TestRequest;
    use futures_util::stream;

    use super::*;
    use crate::budget::Budget;
    use crate::gauges::{Gauge, Gauges};

    const LIMIT: usize = 8;

    /// How much is read of a body that comes in `pieces` and is announced to have `length` bytes; or the HTTP status of
    /// who sent it.
    async fn read(pieces: &[&'static str], length: Option<usize>) -> Result<usize, u16> {
        let mut request = TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        if let Some(length) = length {
            request = request.insert_header(("content-length", length));
        }
        let request = request.to_http_request();
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok(web::Bytes::from_static(piece.as_bytes()))).collect();
        let mut payload: actix_web::dev::Payload =
            actix_http::Payload::Stream { payload: Box::pin(stream::iter(pieces)) };
        let payload = web::Payload::from_request(&request, &mut payload).await.expect("a payload");
        let buffered = Buffered::alone(&Budget::new(1024, &Gauges::new()));
        match read_json(&request, payload, &buffered, LIMIT).await {
            Ok(body) => Ok(body.bytes.len()),
            Err(Failure::Http(status, ..)) => Err(status),
            Err(Failure::Call(status)) => Err(status::http_status(status.code()).as_u16()),
        }
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_a_message_and_no_larger_whether_its_length_is_told_or_not() {
        for length in [None, Some(LIMIT)] {
            assert_eq!(read(&["{\"a\": 1}"], length).await, Ok(LIMIT));
        }
        for too_large in [&["{\"a\": 10}"][..], &["{\"a\": 10", "}"], &["{\"a\":", " 1", "0}"]] {
            assert_eq!(read(too_large, None).await, Err(413), "{too_large:?}");
        }
        assert_eq!(read(&[], Some(LIMIT + 1)).await, Err(413), "none of it is waited for");
    }

    #[test]
    fn a_head_counts_with_its_target_and_its_fields_as_over_http2() {
        let request = TestRequest::with_uri("/path?query=1").insert_header(("x-name", "value"));
        let fields = "x-name".len() + "value".len() + 32;
        assert_eq!(size(&request.to_http_request()), "/path".len() + "query=1".len() + fields);
    }

    #[test]
    fn a_body_counts_as_large_as_its_buffer_however_it_comes() {
        for announced in [0, 1000] {
            let gauges = Gauges::new();
            let buffered = Buffered::alone(&Budget::new(1 << 20, &gauges));
            let mut body = Body::of(announced, &buffered).expect("there is room");
            for _ in 0..10 {
                body.append(&[1; 100], &buffered).expect("there is room");
                assert_eq!(
                    (body.held, gauges.read().sum(Gauge::BufferedBytes)),
                    (body.bytes.capacity(), body.held)
                );
            }
            assert_eq!((body.bytes.len(), body.held >= 1000), (1000, true));
        }
    }
}
