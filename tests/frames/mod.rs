//! The client's end of an HTTP/2 connection, with no gRPC library: it says what a test wants it to say, over whatever leads to
//! a server. Nothing is sent and read unless the connection is polled.

#![allow(dead_code, reason = "each file of tests uses its part")]

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

/// A gRPC request to `path` with no more headers than it needs.
pub(crate) fn post(path: &str) -> Request<()> {
    let request = Request::post(format!("http://node{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).expect("a valid path")
}

/// A connection, for as long as somebody polls it.
pub(crate) struct Frames {
    sender: SendRequest<Bytes>,
    pings: PingPong,
}

/// A request that was begun.
pub(crate) struct Begun {
    response: ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Frames {
    /// One over `io`, and what is to be polled.
    pub(crate) async fn over<T: AsyncRead + AsyncWrite + Unpin>(
        io: T,
        http2: &Builder,
    ) -> (Self, Connection<T, Bytes>) {
        let (sender, mut connection) = http2.handshake(io).await.expect("HTTP/2");
        let pings = connection.ping_pong().expect("this is the first time");
        (Self { sender, pings }, connection)
    }

    /// Sends the head of a request.
    pub(crate) fn begin(&mut self, request: Request<()>) -> Begun {
        let (response, body) = self.sender.send_request(request, false).expect("the connection is open");
        Begun { response, body }
    }

    /// Waits until the server has read all that was sent.
    pub(crate) async fn flush(&mut self) {
        self.pings.ping(Ping::opaque()).await.expect("the connection is open");
    }
}

impl Begun {
    pub(crate) fn send(&mut self, bytes: &[u8], end: bool) {
        self.body.send_data(Bytes::copy_from_slice(bytes), end).expect("the stream is open");
    }

    /// Takes it back.
    pub(crate) fn cancel(mut self) {
        self.body.send_reset(Reason::CANCEL);
    }

    /// Waits for the head of the answer, whose body is still to be read.
    pub(crate) async fn answer(self) -> Response<RecvStream> {
        let Self { response, body: _body } = self;
        response.await.expect("an answer")
    }

    /// Waits for the whole answer.
    pub(crate) async fn reply(self) -> Reply {
        let Self { response, body: _body } = self;
        let (head, mut incoming) = response.await.expect("an answer").into_parts();
        let mut body = Vec::new();
        while let Some(data) = incoming.data().await {
            let data = data.expect("the answer comes to its end");
            incoming.flow_control().release_capacity(data.len()).expect("this much was received");
            body.extend_from_slice(&data);
        }
        let trailers = incoming.trailers().await.expect("the answer comes to its end");
        let (status, headers) = (head.status.as_u16(), head.headers);
        Reply { status, headers, body, trailers: trailers.unwrap_or_default() }
    }
}

impl Reply {
    /// The gRPC code, wherever it stands.
    pub(crate) fn code(&self) -> Option<u32> {
        let code = self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"))?;
        code.to_str().ok()?.parse().ok()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
