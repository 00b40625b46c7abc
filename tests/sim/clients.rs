//! What clients say of a call for themselves, and one that calls the nodes over REST: it shares no code with them.

use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sim::{HostContext, Reply, Request};
use tokio::time::timeout;
use transport::Address;

use crate::hosts::HTTP_PORT;

/// The client waited for as long as it was willing to.
pub(crate) const GAVE_UP: &str = "GAVE UP";
/// There was no connection to send the call over, or the node says that it did not read it.
pub(crate) const NOT_SENT: &str = "NOT SENT";
/// The connection broke under the call.
pub(crate) const BROKEN: &str = "BROKEN";
/// The node closed the connection, and had said nothing of the call.
pub(crate) const HUNG_UP: &str = "HUNG UP";
/// The answer is none that a client could read.
const MALFORMED: &str = "MALFORMED";

pub(crate) type Replied = Pin<Box<dyn Future<Output = Reply>>>;
type Connections = Rc<RefCell<Vec<http1::SendRequest<Empty<Bytes>>>>>;

/// Asks `service2` over REST: `hello` for a greeting.
pub(crate) fn rest(host: HostContext) -> impl Fn(Request) -> Replied + 'static {
    let idle = Connections::default();
    move |request| {
        let (host, idle) = (host.clone(), idle.clone());
        Box::pin(async move { within(request.deadline, get(&host, &idle, &request)).await })
    }
}

/// What comes of `call` by the client's own deadline, or the client's own word for what ended it.
pub(crate) async fn within(
    deadline: Duration,
    call: impl Future<Output = Result<Reply, Box<dyn Error>>>,
) -> Reply {
    match timeout(deadline, call).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::failed(own_word(&*error), error.to_string()),
        Err(_) => Reply::failed(GAVE_UP, "the client's own deadline"),
    }
}

/// The client's own word for what ended a call that the node said nothing about.
fn own_word(error: &(dyn Error + 'static)) -> &'static str {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    let words = |cause: &(dyn Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        let http = cause.downcast_ref::<hyper::Error>();
        let is_refused = io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
        match http {
            _ if cause.is::<serde_json::Error>() => Some(MALFORMED),
            Some(http) if http.is_incomplete_message() => Some(HUNG_UP),
            Some(http) if http.is_canceled() => Some(NOT_SENT),
            _ if cause.downcast_ref().is_some_and(is_unread) => Some(NOT_SENT),
            _ => is_refused.then_some(NOT_SENT),
        }
    };
    causes.find_map(words).unwrap_or(BROKEN)
}

/// Whether the node vouches for not having read the call: it refused the stream, or went away below it.
fn is_unread(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() || error.reason() == Some(h2::Reason::REFUSED_STREAM)
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
