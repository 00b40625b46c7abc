//! The actix-web application of a REST edge, and the connections that lead to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_service::{ServiceFactory as _, map_config};
use actix_web::dev::AppConfig;
use actix_web::guard::{self, Guard};
use actix_web::{App, HttpRequest, web};

use super::bridge::{self, Bridge, Known};
use super::call::{Edge, Target, answer};
use super::connection;
use super::headers::{LetThrough, with_key};
use super::request::{Refusal, refuse, told};
use super::wire::Wire;
use crate::budget::Budget;
use crate::drain::{Drain, OpenWork};
use crate::gauges::{self, EdgeCounts, Reading};
use crate::net::{CallerAddress, Io};
use crate::router::Router;

/// What a REST edge is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest that a request takes.
    pub deadline: Duration,
    /// The headers of a request that reach its handler as metadata, by lower-case name, beside `idempotency-key`, which
    /// always does. All others stay here.
    pub headers: Vec<String>,
    /// The header of each answer to a call that has the number of attempts that this node made of calls for it, if any is
    /// to. The edge sets no other header of that name ([`is_set_by_edge`](super::is_set_by_edge)).
    pub attempts_header: Option<String>,
}

/// The REST edge of one worker. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    app: bridge::App,
    known: Rc<Known>,
    drain: Drain,
    counts: Arc<EdgeCounts>,
    budget: Arc<Budget>,
}

impl Server {
    /// Serves the routes of `router`, and `/healthz`, `/readyz` and `/metrics`.
    pub async fn new(router: Router, options: Options, drain: Drain) -> Self {
        let headers = with_key(options.headers);
        let let_through = LetThrough::new(&headers);
        let (counts, gauges) = (EdgeCounts::of(gauges::REST, router.gauges()), router.gauges().clone());
        // What is no name of a header was refused by the configuration.
        let attempts_header = options.attempts_header.and_then(|name| name.parse().ok());
        let (deadline, counts_too) = (options.deadline, counts.clone());
        let budget = Arc::clone(router.budget());
        let edge = Edge { router, deadline, let_through, attempts_header, counts: counts_too };
        let (edge, readiness) = (Rc::new(edge), drain.clone());
        let app = App::new()
            .service(probe("/healthz", || (200, TEXT, "alive\n".into())))
            .service(probe("/readyz", move || ready(&readiness)))
            .service(probe("/metrics", move || {
                (200, Reading::CONTENT_TYPE, gauges.read().to_string().into())
            }))
            .configure(|config| add_routes(config, &edge))
            .default_service(web::to(|request: HttpRequest| refuse(request, Refusal::NotFound)));
        let app = map_config(app, |()| AppConfig::default()).new_service(()).await;
        let app = Rc::new(app.expect("an app without fallible parts can be made"));
        Self { app, known: Rc::new(Known::new(&headers)), drain, counts, budget }
    }

    /// Serves one accepted connection until its client closes it, or a drain has started and its last
    /// answer is out. Must run on the worker of this server.
    pub async fn serve_connection(&self, io: Io, caller: CallerAddress, open: OpenWork) {
        let _one = self.counts.connections.one();
        let address = match caller {
            CallerAddress::Tcp(address) => Some(address),
            CallerAddress::Unix | CallerAddress::Memory => None,
        };
        let (app, known, wire) =
            (self.app.clone(), self.known.clone(), Wire::new(io, self.drain.clone(), &self.budget));
        connection::serve(Bridge { app, known, caller: address, wire }, caller, &open).await;
        // The drain counts this connection up to here.
        drop(open);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("rest::Server").finish_non_exhaustive()
    }
}

/// What a probe answers: a status, a content type, a text.
type Told = (u16, &'static str, Cow<'static, str>);

const TEXT: &str = "text/plain";

/// A resource by which machines ask how the node is.
fn probe(path: &str, answer: impl Fn() -> Told + 'static) -> actix_web::Resource {
    let (answer, allowed) = (Rc::new(answer), Rc::<str>::from("GET, HEAD"));
    web::resource(path)
        .route(web::route().guard(verb_guard("GET")).to(move |request: HttpRequest| {
            let (status, content_type, text) = answer();
            told(request, status, content_type, text)
        }))
        .default_service(web::to(move |request: HttpRequest| {
            refuse(request, Refusal::WrongMethod(allowed.clone()))
        }))
}

fn ready(drain: &Drain) -> Told {
    let (status, text) = if drain.is_announced() { (503, "draining\n") } else { (200, "ready\n") };
    (status, TEXT, text.into())
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
