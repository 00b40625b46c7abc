//! service2's REST edge in axum, which asks service1 through a tonic channel.

use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use http::uri::PathAndQuery;
use serde::Deserialize;
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::access::{self, Answered};
use super::contract::{PROCESS_NAME, ProcessNameRequest, ProcessNameResponse};
use super::{Outcome, block_on, request_id};
use crate::options::Listener;
use crate::program::now;

const SAY_HELLO: &str = "/api/v1/say-hello";
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn run(listener: &Listener, service1: &[String]) -> Outcome {
    block_on(listener.workers, async {
        let service1 = service1.iter().cloned().map(Endpoint::from_shared);
        let service1 = service1.collect::<Result<Vec<_>, _>>()?;
        let service1 = Grpc::new(match &service1[..] {
            [one] => one.connect_lazy(),
            several => Channel::balance_list(several.iter().cloned()),
        });
        let app = Router::new().route(SAY_HELLO, get(say_hello)).with_state(service1);
        let listener = TcpListener::bind(listener.listen).await?.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                eprintln!("setting TCP_NODELAY: {error}");
            }
        });
        Ok(axum::serve(listener, app).await?)
    })
}

#[derive(Deserialize)]
struct SayHello {
    #[serde(default)]
    name: String,
}

async fn say_hello(
    State(service1): State<Grpc<Channel>>,
    Query(SayHello { name }): Query<SayHello>,
    headers: HeaderMap,
) -> Response {
    let start = now();
    let request_id =
        request_id::or_fresh(headers.get(request_id::HEADER).and_then(|value| value.to_str().ok()));
    let answer = match process_name(service1, name, &request_id).await {
        Ok(name) => Json(format!("Hello, {name}!")).into_response(),
        Err(status) => (http_status(status.code()), status.message().to_owned()).into_response(),
    };
    let bytes = answer.body().size_hint().exact().unwrap_or_default();
    let answered = Answered { status: answer.status().as_u16(), bytes, start };
    access::line("GET", SAY_HELLO, &answered, &request_id);
    ([(request_id::HEADER, request_id)], answer).into_response()
}

async fn process_name(mut service1: Grpc<Channel>, name: String, request_id: &str) -> Result<String, Status> {
    let mut request = Request::new(ProcessNameRequest { name });
    request.set_timeout(DEADLINE);
    request_id::insert(request.metadata_mut(), request_id);

    service1.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<ProcessNameRequest, ProcessNameResponse>::default();
    let answer = service1.unary(request, PathAndQuery::from_static(PROCESS_NAME), codec).await?;
    Ok(answer.into_inner().name)
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::DeadlineExceeded | Code::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
