//! service1's work inside an actix-web handler.

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpServer, rt, web};
use serde::{Deserialize, Serialize};

use super::access::{self, Answered};
use super::{Outcome, request_id};
use crate::options::Listener;
use crate::program::now;

pub(super) fn run(listener: &Listener) -> Outcome {
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

    let mut response = next.call(request).await?;
    let value = HeaderValue::from_str(&request_id).expect("a well-formed id is visible ASCII");
    response.headers_mut().insert(HeaderName::from_static(request_id::HEADER), value);
    let bytes = match response.response().body().size() {
        BodySize::Sized(bytes) => bytes,
        BodySize::None | BodySize::Stream => 0,
    };
    let (request, status) = (response.request(), response.status().as_u16());
    access::line(request.method().as_str(), request.path(), &Answered { status, bytes, start }, &request_id);
    Ok(response)
}
