//! A gRPC client of bare HTTP/2 frames (gRPC over HTTP/2, protocol description): nothing of tonic, and nothing of
//! the node, so that what both sides get wrong in the same way cannot pass for right.

use std::error::Error;
use std::rc::Rc;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Version};
use percent_encoding::percent_decode_str;
use prost::Message;
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse, SayHelloRequest, SayHelloResponse};
use sim::{HostContext, Reply, Request};
use tokio::sync::Mutex;
use transport::Address;

use crate::clients::{Replied, within};
use crate::hosts::GRPC_PORT;

type Trouble = Box<dyn Error>;

/// What stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Calls over gRPC: `hello` for a greeting of `service2`, `name` for `service1`.
pub(crate) fn grpc(host: HostContext) -> impl Fn(Request) -> Replied + 'static {
    let (hello, name) = (Peer::new(&host, "service2"), Peer::new(&host, "service1"));
    move |request| {
        let peer = if request.kind == "name" { name.clone() } else { hello.clone() };
        Box::pin(async move { within(request.deadline, peer.call(&request)).await })
    }
}

/// A service, and the connection to it while there is one.
#[derive(Clone)]
struct Peer {
    host: HostContext,
    service: &'static str,
    connection: Rc<Mutex<Option<SendRequest<Bytes>>>>,
}

impl Peer {
    fn new(host: &HostContext, service: &'static str) -> Self {
        Self { host: host.clone(), service, connection: Rc::default() }
    }

    async fn call(&self, request: &Request) -> Result<Reply, Trouble> {
        let name = request.argument.clone();
        if request.kind == "name" {
            let said = self.unary("/app.grpc.Service1/ProcessName", request, ProcessNameRequest { name });
            return said.await?.reply(|answer: ProcessNameResponse| answer.name);
        }
        let said = self.unary("/app.grpc.Service2/SayHello", request, SayHelloRequest { name });
        said.await?.reply(|answer: SayHelloResponse| answer.hello)
    }

    async fn unary(&self, path: &str, request: &Request, message: impl Message) -> Result<Answer, Trouble> {
        let head = http::Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{path}", self.service))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", format!("{}m", request.deadline.as_millis()))
            .header("x-request-id", request.request_id())
            .body(())?;
        let (response, mut body) = self.connected().await?.send_request(head, false)?;
        body.send_data(framed(&message)?, true)?;
        Answer::read(response.await?).await
    }

    /// The connection, made anew if there is none that takes calls.
    async fn connected(&self) -> Result<SendRequest<Bytes>, Trouble> {
        let mut connection = self.connection.lock().await;
        if let Some(kept) = connection.take()
            && let Ok(ready) = kept.ready().await
        {
            return Ok(connection.insert(ready).clone());
        }
        let address = Address::Tcp { host: self.service.to_owned(), port: GRPC_PORT };
        let (made, driver) = h2::client::handshake(self.host.net().connect(&address).await?).await?;
        // Why a connection ended is told to each call that was on it.
        tokio::task::spawn_local(async move { driver.await.is_ok() });
        Ok(connection.insert(made).clone())
    }
}

fn framed(message: &impl Message) -> Result<Bytes, Trouble> {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len())?);
    message.encode(&mut bytes)?;
    Ok(bytes.freeze())
}

/// All that came back.
struct Answer {
    head: HeaderMap,
    message: Vec<u8>,
    trailers: HeaderMap,
}

impl Answer {
    async fn read(response: http::Response<h2::RecvStream>) -> Result<Self, Trouble> {
        let (head, mut body) = response.into_parts();
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            message.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok(Self { head: head.headers, message, trailers })
    }

    /// The value, or the status in its place.
    fn reply<M: Message + Default>(&self, value: impl Fn(M) -> String) -> Result<Reply, Trouble> {
        let status = self.field("grpc-status").ok_or("an answer without a status")?;
        let reply = match transport::status::code_name(status.parse::<i32>()?.into()) {
            "OK" => Reply::ok(value(M::decode(self.message.get(PREFIX_BYTES..).unwrap_or_default())?)),
            code => {
                let message = percent_decode_str(self.field("grpc-message").unwrap_or_default());
                Reply::failed(code, message.decode_utf8()?)
            }
        };
        Ok(reply.with_request_id(self.field("x-request-id").map(str::to_owned)))
    }

    /// A field of the trailers, or of the head, which has them all in an answer without a message.
    fn field(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).or_else(|| self.head.get(name))?.to_str().ok()
    }
}
