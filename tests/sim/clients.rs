//! Who calls the nodes over REST: a client that shares no code with what it calls.

use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sim::{HostContext, Reply, Request};
use tokio::time::timeout;
use transport::Address;

use crate::hosts::HTTP_PORT;

pub(crate) type Replied = Pin<Box<dyn Future<Output = Reply>>>;
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
