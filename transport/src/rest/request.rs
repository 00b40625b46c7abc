//! What each request over REST has, whatever it leads to: an id, a context, an access line; and the answers to those
//! that lead to no call.

use std::borrow::Cow;
use std::rc::Rc;

use actix_web::body::MessageBody as _;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::access::{AccessLine, Outcome};
use crate::context::CallContext;
use crate::net::CallerAddress;
use crate::problem;
use crate::request_id::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why a request has no route.
pub(super) enum Refusal {
    NotFound,
    /// The methods that the path has.
    WrongMethod(Rc<str>),
}

pub(super) async fn refuse(request: HttpRequest, refusal: Refusal) -> HttpResponse {
    let context = context(&request);
    let line = access_line(&context, &request);
    let id = context.request_id();
    let response = match refusal {
        Refusal::NotFound => problem::of_http(404, Code::NotFound, "no such route", id),
        Refusal::WrongMethod(allowed) => {
            let detail = format!("expected one of: {allowed}");
            let mut response = problem::of_http(405, Code::Unimplemented, &detail, id);
            let allowed = HeaderValue::from_str(&allowed).expect("methods are ASCII");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
    };
    finish(response, &context, line)
}

/// The answer to a probe.
pub(super) async fn told(
    request: HttpRequest,
    status: u16,
    content_type: &'static str,
    text: Cow<'static, str>,
) -> HttpResponse {
    let context = context(&request);
    let line = access_line(&context, &request);
    let status = StatusCode::from_u16(status).expect("this file names valid statuses only");
    let response = HttpResponse::build(status).content_type(content_type).body(text);
    finish(response, &context, line)
}

/// The context of what leads to no call.
pub(super) fn context(request: &HttpRequest) -> CallContext {
    let id = request_id(request.headers());
    CallContext::new(id, None, None, caller(request), MetadataMap::new())
}

pub(super) fn caller(request: &HttpRequest) -> CallerAddress {
    request.peer_addr().map_or(CallerAddress::Unix, CallerAddress::Tcp)
}

pub(super) fn request_id(headers: &HeaderMap) -> RequestId {
    RequestId::accept([headers.get(&REQUEST_ID).map(HeaderValue::as_bytes)])
}

pub(super) fn access_line(context: &CallContext, request: &HttpRequest) -> AccessLine {
    let path = request.path().to_owned().into();
    let method = crate::access::method_name(request.method().as_str());
    AccessLine::new(context.clone(), method, path, Outcome::Http(499))
}

pub(super) fn finish(
    mut response: HttpResponse,
    context: &CallContext,
    mut line: AccessLine,
) -> HttpResponse {
    let id = HeaderValue::from_str(context.request_id().as_str()).expect("an id is visible ASCII");
    response.headers_mut().insert(REQUEST_ID, id);
    if let actix_web::body::BodySize::Sized(bytes) = response.body().size() {
        line.bytes = bytes;
    }
    line.write(Outcome::Http(response.status().as_u16()));
    response
}
