//! A request over REST that leads to a call: the call is made of it, and the answer of its outcome.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tracing::warn;

use super::headers::{LetThrough, add_metadata};
use super::request::{access_line, caller, finish, request_id};
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
    let response = match context.scope(call(&target, &context, &request, body)).await {
        Ok((metadata, json)) => {
            let mut response = HttpResponse::Ok().content_type("application/json").body(json);
            add_metadata(&mut response, &metadata);
            response
        }
        Err(failure) => failure.into_response(&context),
    };
    finish(response, &context, line)
}

async fn call(
    target: &Target,
    context: &CallContext,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<(MetadataMap, Vec<u8>), Failure> {
    let route = &target.route;
    let answer = async {
        let body = if route.body {
            Some(read_json(request, body).await?)
        } else {
            no_body(request)?;
            None
        };
        let incoming = Incoming {
            query: request.query_string(),
            path: path_values(route, request),
            body: body.as_deref(),
        };
        metadata::check_size(context.metadata())?;
        let message = target.transcoder.decode(&incoming)?;
        let answer = target.endpoint.call(context, Payload::One(message)).await?;
        Ok((answer.metadata, target.transcoder.encode(answer.body.single().await?, route)?))
    };
    deadline::within(context.deadline(), answer).await
}

fn path_values<'a>(route: &Route, request: &'a HttpRequest) -> Vec<(&'static str, &'a str)> {
    route.path_fields().map(|field| (field, request.match_info().get(field).unwrap_or_default())).collect()
}

fn no_body(request: &HttpRequest) -> Result<()> {
    let headers = request.headers();
    let length = headers.get("content-length").is_some_and(|length| length != "0");
    if length || headers.contains_key("transfer-encoding") {
        return Err(Status::invalid_argument("expected a request without a body"));
    }
    Ok(())
}

async fn read_json(request: &HttpRequest, body: web::Payload) -> Result<web::Bytes, Failure> {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.to_ascii_lowercase().starts_with(b"application/json") {
        return Err(Failure::Http(415, Code::InvalidArgument, "expected content-type application/json"));
    }
    let mut body = body.into_inner();
    web::Bytes::from_request(request, &mut body).await.map_err(|error| {
        if error.as_response_error().status_code() == 413 {
            Failure::Http(413, Code::ResourceExhausted, "the body is larger than the limit")
        } else {
            Failure::Http(400, Code::InvalidArgument, "the body could not be read")
        }
    })
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
                response
            }
        }
    }
}

fn call_context(target: &Target, request: &HttpRequest) -> CallContext {
    let edge = &target.edge;
    let (id, deadline) = (request_id(request.headers()), deadline::after(edge.deadline));
    let metadata = edge.let_through.metadata_of(request.headers());
    CallContext::new(id, deadline, Some(target.endpoint.admission.clone()), caller(request), metadata)
}
