//! service1's work inside an actix-web handler, with an access line for every request.

use std::fs::OpenOptions;
use std::io::BufWriter;
use std::path::Path;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpServer, rt, web};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Outcome, request_id};
use crate::options::Listener;
use crate::program::now;

pub(super) fn run(listener: &Listener, log: &Path) -> Outcome {
    let log = OpenOptions::new().append(true).create(true).open(log)?;
    // The appender flushes whenever its queue is empty, so the buffer only saves it a system call a line.
    let (writer, _flushed_at_the_end) = tracing_appender::non_blocking(BufWriter::new(log));
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).init();

    let app = || App::new().wrap(from_fn(access_line)).route("/api/v1/name", web::get().to(name));
    let server = HttpServer::new(app).workers(listener.workers).bind(listener.listen)?.run();
    Ok(rt::System::new().block_on(server)?)
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    name: String,
}

#[derive(Serialize)]
struct Answer {
    name: String,
}

async fn name(query: web::Query<Query>) -> web::Json<Answer> {
    web::Json(Answer { name: query.name.to_uppercase() })
}

async fn access_line<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let start = now();
    let header = request.headers().get(request_id::HEADER).and_then(|value| value.to_str().ok());
    let request_id = request_id::or_fresh(header);
    let peer = request.peer_addr();

    let mut response = next.call(request).await?;
    let value = HeaderValue::from_str(&request_id).expect("a well-formed id is visible ASCII");
    response.headers_mut().insert(HeaderName::from_static(request_id::HEADER), value);
    let bytes = match response.response().body().size() {
        BodySize::Sized(bytes) => bytes,
        BodySize::None | BodySize::Stream => 0,
    };
    info!(
        method = response.request().method().as_str(),
        path = response.request().path(),
        status = response.status().as_u16(),
        duration_us = start.elapsed().as_micros() as u64,
        bytes,
        peer = peer.map(tracing::field::display),
        request_id,
        "request"
    );
    Ok(response)
}
