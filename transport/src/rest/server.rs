//! Serves one accepted connection with an actix-web app.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{Service as _, ServiceFactory as _, boxed, map_config};
use actix_web::body::MessageBody as _;
use actix_web::dev::AppConfig;
use actix_web::guard::{self, Guard};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::{App, FromRequest as _, HttpRequest, HttpResponse, web};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tracing::{debug, warn};

use super::malformed::Malformed;
use crate::access::{AccessLine, Outcome};
use crate::context::CallContext;
use crate::deadline;
use crate::drain::{Drain, OpenWork};
use crate::endpoint::Endpoint;
use crate::metadata;
use crate::net::{CallerAddress, Io};
use crate::payload::Payload;
use crate::problem;
use crate::request_id::RequestId;
use crate::route::Route;
use crate::router::Router;
use crate::status::Result;
use crate::transcode::{Incoming, Transcoder};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a client may take to send the head of a request, and to close after the last answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may stay idle between requests.
const IDLE_MAX: Duration = Duration::from_secs(75);

type Connections = boxed::RcService<(Io, Option<SocketAddr>), (), actix_http::error::DispatchError>;

/// What a REST edge is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest that a request takes.
    pub deadline: Duration,
    /// The headers of a request that reach its handler as metadata, by lower-case name. All others stay here.
    pub headers: Vec<String>,
}

/// The REST edge of one worker. Cheap to clone.
#[derive(Clone)]
pub struct Server(Connections);

impl Server {
    /// Serves the routes of `router`, and `/healthz` and `/readyz`.
    pub async fn new(router: Router, options: Options, drain: Drain) -> Self {
        let edge = Rc::new(Edge { router, options });
        let app = App::new()
            .app_data(web::PayloadConfig::new(edge.router.limits().message_size))
            .service(probe("/healthz", |_| (200, "alive\n"), &drain))
            .service(probe("/readyz", readiness, &drain))
            .configure(|config| add_routes(config, &edge))
            .default_service(web::to(|request: HttpRequest| refuse(request, Refusal::NotFound)));
        let service = HttpService::build()
            .keep_alive(IDLE_MAX)
            .client_request_timeout(PATIENCE)
            .client_disconnect_timeout(PATIENCE)
            // A client that hangs up does not want its answer any more.
            .h1_allow_half_closed(false)
            .graceful_shutdown_signal(move || {
                let drain = drain.clone();
                async move { drain.started().await }
            })
            .h1(map_config(app, |()| AppConfig::default()))
            .new_service(())
            .await
            .expect("an app without fallible parts can be made");
        Self(boxed::rc_service(service))
    }

    /// Serves one accepted connection until its client closes it, or a drain has started and its last
    /// answer is out. Must run on the worker of this server.
    pub async fn serve_connection(&self, io: Io, caller: CallerAddress, open: OpenWork) {
        let address = match caller {
            CallerAddress::Tcp(address) => Some(address),
            CallerAddress::Unix | CallerAddress::Memory => None,
        };
        let io: Io = Box::new(Malformed::new(io, caller));
        if let Err(error) = self.0.call((io, address)).await {
            debug!(peer = %caller, %error, "connection ended");
        }
        // The drain counts this connection up to here.
        drop(open);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("rest::Server").finish_non_exhaustive()
    }
}

/// A resource that is asked by machines whether the node lives, or may be given work.
fn probe(path: &str, answer: fn(&Drain) -> (u16, &'static str), drain: &Drain) -> actix_web::Resource {
    let drain = drain.clone();
    let allowed: Rc<str> = "GET, HEAD".into();
    web::resource(path)
        .route(web::route().guard(verb_guard("GET")).to(move |request: HttpRequest| {
            let (status, text) = answer(&drain);
            plain(request, status, text)
        }))
        .default_service(web::to(move |request: HttpRequest| {
            refuse(request, Refusal::WrongMethod(allowed.clone()))
        }))
}

fn readiness(drain: &Drain) -> (u16, &'static str) {
    if drain.is_announced() { (503, "draining\n") } else { (200, "ready\n") }
}

/// What all requests share.
struct Edge {
    router: Router,
    options: Options,
}

/// One resource for each path, with all its verbs.
fn add_routes(config: &mut web::ServiceConfig, edge: &Rc<Edge>) {
    let mut paths: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
    for endpoint in edge.router.endpoints() {
        let Some(transcoder) = endpoint.transcoder else { continue };
        for route in endpoint.routes {
            let target = Target { edge: edge.clone(), route: *route, transcoder, endpoint: endpoint.clone() };
            paths.entry(route.path).or_default().push(target);
        }
    }
    for (path, targets) in paths {
        let mut resource = web::resource(path);
        let mut allowed = Vec::new();
        for target in targets {
            allowed.push(target.route.verb);
            if target.route.verb == "GET" {
                allowed.push("HEAD");
            }
            let (guard, target) = (verb_guard(target.route.verb), Rc::new(target));
            resource =
                resource.route(web::route().guard(guard).to(
                    move |request: HttpRequest, body: web::Payload| answer(target.clone(), request, body),
                ));
        }
        let allowed: Rc<str> = allowed.join(", ").into();
        config.service(resource.default_service(web::to(move |request: HttpRequest| {
            refuse(request, Refusal::WrongMethod(allowed.clone()))
        })));
    }
}

/// HEAD is GET without the body of the answer (RFC 9110, section 9.3.2).
fn verb_guard(verb: &'static str) -> impl Guard {
    guard::fn_guard(move |context| {
        let method = context.head().method.as_str();
        method == verb || (method == "HEAD" && verb == "GET")
    })
}

/// Where a request goes.
struct Target {
    edge: Rc<Edge>,
    route: Route,
    transcoder: Transcoder,
    endpoint: Arc<Endpoint>,
}

/// Makes a call of a request, and an answer of its outcome.
async fn answer(target: Rc<Target>, request: HttpRequest, body: web::Payload) -> HttpResponse {
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
            Self::Call(status) => {
                let code = crate::status::code_name(status.code());
                if crate::status::http_status(status.code()).is_server_error() {
                    let not_sent = crate::status::proof_not_sent(&status).is_some();
                    context.sync_scope(|| {
                        warn!(code, error = status.message(), not_sent, "request failed");
                    });
                }
                let mut response = problem::of_status(&status, id);
                add_metadata(&mut response, status.metadata());
                response
            }
        }
    }
}

/// Why a request has no route.
enum Refusal {
    NotFound,
    /// The methods that the path has.
    WrongMethod(Rc<str>),
}

async fn refuse(request: HttpRequest, refusal: Refusal) -> HttpResponse {
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
async fn plain(request: HttpRequest, status: u16, text: &'static str) -> HttpResponse {
    let context = context(&request);
    let line = access_line(&context, &request);
    let status = StatusCode::from_u16(status).expect("this file names valid statuses only");
    let response = HttpResponse::build(status).content_type("text/plain").body(text);
    finish(response, &context, line)
}

/// The context of what leads to no call.
fn context(request: &HttpRequest) -> CallContext {
    let id = request_id(request.headers());
    CallContext::new(id, None, None, caller(request), MetadataMap::new())
}

fn call_context(target: &Target, request: &HttpRequest) -> CallContext {
    let options = &target.edge.options;
    let (id, deadline) = (request_id(request.headers()), deadline::after(options.deadline));
    let metadata = let_through(&options.headers, request.headers());
    CallContext::new(id, deadline, Some(target.endpoint.admission.clone()), caller(request), metadata)
}

fn caller(request: &HttpRequest) -> CallerAddress {
    request.peer_addr().map_or(CallerAddress::Unix, CallerAddress::Tcp)
}

/// The headers that reach the handler: those that the node lets through, without those that are this crate's own.
fn let_through(names: &[String], headers: &HeaderMap) -> MetadataMap {
    let mut metadata = http::HeaderMap::new();
    for name in names {
        let Ok(key) = http::HeaderName::from_bytes(name.as_bytes()) else { continue };
        for value in headers.get_all(name.as_str()) {
            if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                metadata.append(key.clone(), value);
            }
        }
    }
    if metadata.is_empty() { MetadataMap::new() } else { metadata::of_user(metadata) }
}

/// What of the metadata of an answer must not become a header: it says how the message is framed, or is the edge's.
const FRAMING: [&str; 6] =
    ["connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "content-encoding"];

fn add_metadata(response: &mut HttpResponse, metadata: &MetadataMap) {
    for (name, value) in metadata.as_ref().iter().filter(|(name, _)| !FRAMING.contains(&name.as_str())) {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().append(name, value);
        }
    }
}

fn request_id(headers: &HeaderMap) -> RequestId {
    RequestId::accept([headers.get(&REQUEST_ID).map(HeaderValue::as_bytes)])
}

fn access_line(context: &CallContext, request: &HttpRequest) -> AccessLine {
    let path = request.path().to_owned().into();
    let method = crate::access::method_name(request.method().as_str());
    AccessLine::new(context.clone(), method, path, Outcome::Http(499))
}

fn finish(mut response: HttpResponse, context: &CallContext, mut line: AccessLine) -> HttpResponse {
    let id = HeaderValue::from_str(context.request_id().as_str()).expect("an id is visible ASCII");
    response.headers_mut().insert(REQUEST_ID, id);
    if let actix_web::body::BodySize::Sized(bytes) = response.body().size() {
        line.bytes = bytes;
    }
    line.write(Outcome::Http(response.status().as_u16()));
    response
}
