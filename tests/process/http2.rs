//! HTTP/2 from both ends, with no gRPC library: a client that says what a test wants it to say, and a
//! server that answers when a test wants it to. Nothing runs while no method is being called, so either
//! can be silent.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::SOON;

/// The gRPC message of a request that says `test` in its field 1.
pub(crate) const TEST: &[u8] = b"\0\0\0\0\x06\x0a\x04test";

/// What service1 answers to it.
pub(crate) const ANSWER_1: &[u8] = b"\0\0\0\0\x06\x0a\x04TEST";

/// What service2 answers to it.
pub(crate) const ANSWER_2: &[u8] = b"\0\0\0\0\x0e\x0a\x0cHello, TEST!";

pub(crate) const SERVICE_1: &str = "/app.grpc.Service1/ProcessName";
pub(crate) const SERVICE_2: &str = "/app.grpc.Service2/SayHello";

/// A gRPC request to `path` with no more headers than it needs.
pub(crate) fn post(path: &str) -> Request<()> {
    let request = Request::post(format!("http://node{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).expect("a valid path")
}

/// The client's end of a connection.
pub(crate) struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    pings: PingPong,
    connection: JoinHandle<Result<(), h2::Error>>,
    /// As the server sees it.
    pub(crate) address: SocketAddr,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

/// A request that was begun.
pub(crate) struct Begun {
    response: ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

impl Client {
    pub(crate) fn open(address: &str) -> Self {
        Self::open_with(address, &h2::client::Builder::new())
    }

    /// A client that never lets the server send the body of an answer.
    pub(crate) fn open_and_read_nothing(address: &str) -> Self {
        Self::open_with(address, h2::client::Builder::new().initial_window_size(0))
    }

    #[expect(clippy::disallowed_methods, reason = "this runs outside of any simulation")]
    fn open_with(address: &str, http2: &h2::client::Builder) -> Self {
        let runtime = runtime();
        let (sender, pings, connection, address) = runtime.block_on(soon(async {
            let stream = TcpStream::connect(address).await.expect("the node listens");
            stream.set_nodelay(true).expect("a connected socket has this option");
            let address = stream.local_addr().expect("a connected socket has an address");
            let (sender, mut connection) = http2.handshake(stream).await.expect("HTTP/2");
            let pings = connection.ping_pong().expect("this is the first time");
            (sender, pings, tokio::spawn(connection), address)
        }));
        let mut client = Self { runtime, sender, pings, connection, address };
        client.flush();
        client
    }

    /// Sends a whole request, and waits for the answer.
    pub(crate) fn call(&mut self, request: Request<()>, body: &[u8]) -> Reply {
        let mut begun = self.begin(request);
        begun.send(body, true);
        self.reply(begun)
    }

    /// Sends the head of a request.
    pub(crate) fn begin(&mut self, request: Request<()>) -> Begun {
        let (response, body) = self.sender.send_request(request, false).expect("the connection is open");
        Begun { response, body }
    }

    /// Waits for the answer to a request.
    pub(crate) fn reply(&self, begun: Begun) -> Reply {
        self.runtime.block_on(soon(async {
            let Begun { response, body: _body } = begun;
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
        }))
    }

    /// Takes back a request that was begun.
    pub(crate) fn cancel(&mut self, mut begun: Begun) {
        begun.body.send_reset(Reason::CANCEL);
        drop(begun);
        self.flush();
    }

    /// Waits until the server has read all that was sent.
    pub(crate) fn flush(&mut self) {
        let pong = self.pings.ping(Ping::opaque());
        self.runtime.block_on(soon(pong)).expect("the connection is open");
    }

    /// Waits until the server has said GOAWAY and the connection is closed, in good order.
    pub(crate) fn ended(self) {
        let ended = self.runtime.block_on(soon(self.connection)).expect("no panic");
        ended.expect("GOAWAY with NO_ERROR");
    }
}

impl Begun {
    pub(crate) fn send(&mut self, bytes: &[u8], end: bool) {
        self.body.send_data(Bytes::copy_from_slice(bytes), end).expect("the stream is open");
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

/// A service1 that answers when it is told to.
pub(crate) struct SlowServer {
    runtime: Runtime,
    listener: TcpListener,
    connection: Option<Connection<TcpStream, Bytes>>,
}

impl SlowServer {
    pub(crate) fn start() -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port is free");
        Self { runtime, listener, connection: None }
    }

    /// What `--peer` is to say.
    pub(crate) fn flag(&self) -> String {
        format!("service1=http://{}", self.listener.local_addr().expect("a listener has an address"))
    }

    /// Waits for a call. It is in flight from here on.
    pub(crate) fn accept(&mut self) -> SendResponse<Bytes> {
        let Self { runtime, listener, connection } = self;
        runtime.block_on(soon(async {
            let connection = match connection {
                Some(connection) => connection,
                None => {
                    let (stream, _) = listener.accept().await.expect("a connection comes");
                    connection.insert(h2::server::handshake(stream).await.expect("HTTP/2"))
                }
            };
            let (_, respond) = connection.accept().await.expect("a call comes").expect("HTTP/2");
            respond
        }))
    }

    /// Answers a call as service1 would.
    pub(crate) fn answer(&mut self, respond: SendResponse<Bytes>) {
        self.answer_with(respond, &[], ANSWER_1, &[("grpc-status", "0")]);
    }

    /// Answers a call with these headers, this body and these trailers; without trailers, the headers are all.
    pub(crate) fn answer_with(
        &mut self,
        mut respond: SendResponse<Bytes>,
        headers: &[(&'static str, &'static str)],
        body: &'static [u8],
        trailers: &[(&'static str, &'static str)],
    ) {
        let head = Response::builder().header("content-type", "application/grpc");
        let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value));
        let head = head.body(()).expect("a valid head");
        let mut stream = respond.send_response(head, trailers.is_empty()).expect("the call is open");
        if !trailers.is_empty() {
            stream.send_data(Bytes::from_static(body), false).expect("the call is open");
            let trailer = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            stream.send_trailers(trailers.iter().map(trailer).collect()).expect("the call is open");
        }
        let connection = self.connection.as_mut().expect("a call came over it");
        // What was said above goes out while the connection is polled; it has gone out when it would wait.
        let written = std::future::poll_fn(|cx| {
            let polled = connection.poll_accept(cx);
            assert!(!matches!(polled, std::task::Poll::Ready(Some(Ok(_)))), "one call at a time");
            std::task::Poll::Ready(())
        });
        self.runtime.block_on(written);
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

async fn soon<T>(outcome: impl Future<Output = T>) -> T {
    timeout(SOON, outcome).await.expect("it happens soon")
}
