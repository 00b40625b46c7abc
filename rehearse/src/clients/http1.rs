//! A connection of HTTP/1.1, as all clients make it that speak that.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sim::HostContext;
use transport::Address;

use super::ports::HTTP_PORT;
use crate::rpc::Trouble;

/// The connection that was kept, if it is open still, or a new one from `host` to `target`.
pub(super) async fn connected<B>(
    host: &HostContext,
    target: &str,
    kept: Option<SendRequest<B>>,
) -> Result<SendRequest<B>, Trouble>
where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + 'static,
{
    if let Some(connection) = kept.filter(|connection| !connection.is_closed()) {
        return Ok(connection);
    }
    let address = Address::Tcp { host: target.to_owned(), port: HTTP_PORT };
    let io = TokioIo::new(host.net().connect(&address).await?);
    let (connection, driver) = http1::handshake(io).await?;
    tokio::task::spawn_local(driver);
    Ok(connection)
}

/// The body of what `target` answers to `GET path`, over a connection of its own.
pub(crate) async fn get(host: &HostContext, target: &str, path: &str) -> Result<String, Trouble> {
    let mut connection = connected(host, target, None).await?;
    let head = http::Request::builder().uri(path).header("host", target).header("connection", "close");
    let answer = connection.send_request(head.body(Empty::<Bytes>::new())?).await?;
    Ok(String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned())
}
