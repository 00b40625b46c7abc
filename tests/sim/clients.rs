//! Who calls the nodes: REST and gRPC clients that share no code with what they call.

use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse, SayHelloRequest, SayHelloResponse};
use sim::{HostContext, Reply, Request};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use transport::Address;

use crate::hosts::{GRPC_PORT, HTTP_PORT};

type Replied = Pin<Box<dyn Future<Output = Reply>>>;
type Connections = Rc<RefCell<Vec<http1::SendRequest<Empty<Bytes>>>>>;

/// Asks `service2` over REST: `hello` for a greeting.
pub(crate) fn rest(host: HostContext) -> impl Fn(Request) -> Replied + 'static {
    let idle = Connections::default();
    move |request| {
        let (host, idle) = (host.clone(), idle.clone());
        Box::pin(async move {
            match timeout(request.deadline, get(&host, &idle, &request)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => Reply::failed("BROKEN", error.to_string()),
                Err(_) => Reply::failed("GAVE UP", "the client's own deadline"),
            }
        })
    }
}

async fn get(host: &HostContext, idle: &Connections, request: &Request) -> Result<Reply, Box<dyn Error>> {
    let kept = idle.borrow_mut().pop();
    let mut connection = match kept.filter(|connection| !connection.is_closed()) {
        Some(connection) => connection,
        None => {
            let address = Address::Tcp { host: "service2".to_owned(), port: HTTP_PORT };
            let (connection, driver) =
                http1::handshake(TokioIo::new(host.net().connect(&address).await?)).await?;
            tokio::task::spawn_local(driver);
            connection
        }
    };
    let target = format!("/api/v1/say-hello?name={}", request.argument);
    let call =
        http::Request::get(target).header("host", "service2").header("x-request-id", request.request_id());
    let answer = connection.send_request(call.body(Empty::new())?).await?;
    let (head, body) = answer.into_parts();
    let id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = body.collect().await?.to_bytes();
    if connection.ready().await.is_ok() {
        idle.borrow_mut().push(connection);
    }
    let reply = if head.status.is_success() {
        Reply::ok(serde_json::from_slice::<String>(&body)?)
    } else {
        let problem: serde_json::Value = serde_json::from_slice(&body)?;
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        Reply::failed(text("code"), text("detail"))
    };
    Ok(reply.with_request_id(id))
}

/// Calls over gRPC, with tonic's own channel: `hello` for a greeting of `service2`, `name` for `service1`.
pub(crate) fn grpc(host: HostContext) -> impl Fn(Request) -> Replied + 'static {
    let (hello, name) = (channel(&host, "service2"), channel(&host, "service1"));
    move |request| {
        let channel = if request.kind == "name" { name.clone() } else { hello.clone() };
        Box::pin(async move {
            let deadline = request.deadline;
            match timeout(deadline, call(channel, request)).await {
                Ok(reply) => reply,
                Err(_) => Reply::failed("GAVE UP", "the client's own deadline"),
            }
        })
    }
}

fn channel(host: &HostContext, service: &'static str) -> Channel {
    let net = host.net();
    let connector = tower::service_fn(move |_: Uri| {
        let net = net.clone();
        async move {
            let address = Address::Tcp { host: service.to_owned(), port: GRPC_PORT };
            net.connect(&address).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://node").connect_with_connector_lazy(connector)
}

async fn call(channel: Channel, request: Request) -> Reply {
    let answer = match request.kind.as_str() {
        "name" => unary(
            channel,
            &request,
            "/app.grpc.Service1/ProcessName",
            ProcessNameRequest { name: request.argument.clone() },
        )
        .await
        .map(|answer| answer.map(|answer: ProcessNameResponse| answer.name)),
        _ => unary(
            channel,
            &request,
            "/app.grpc.Service2/SayHello",
            SayHelloRequest { name: request.argument.clone() },
        )
        .await
        .map(|answer| answer.map(|answer: SayHelloResponse| answer.hello)),
    };
    let (id, reply) = match answer {
        Ok(answer) => (answer.metadata().get("x-request-id").cloned(), Reply::ok(answer.into_inner())),
        // What tonic says of a connection that the server gave up, and of its own deadline.
        Err(status) if why(&status).contains("connection error received: not a result of an error") => {
            return Reply::failed("BROKEN", "GOAWAY");
        }
        Err(status) if status.message() == "Timeout expired" => {
            return Reply::failed("GAVE UP", "the client's own deadline");
        }
        Err(status) => {
            let code = transport::status::code_name(status.code());
            (status.metadata().get("x-request-id").cloned(), Reply::failed(code, why(&status)))
        }
    };
    reply.with_request_id(id.and_then(|id| id.to_str().map(str::to_owned).ok()))
}

/// The message of a status, and what is behind it.
fn why(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

async fn unary<I, O>(
    channel: Channel,
    request: &Request,
    path: &'static str,
    message: I,
) -> Result<tonic::Response<O>, tonic::Status>
where
    I: prost::Message + 'static,
    O: prost::Message + Default + 'static,
{
    let mut outgoing = tonic::Request::new(message);
    let id = request.request_id().parse().expect("ids of the simulation are ASCII");
    outgoing.metadata_mut().insert("x-request-id", id);
    outgoing.set_timeout(request.deadline);
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    grpc.unary(outgoing, path.parse().expect("a path"), tonic_prost::ProstCodec::default()).await
}
