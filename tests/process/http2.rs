//! HTTP/2 over TCP from both ends, with no gRPC library: a client that says what a test wants it to say, and a
//! server that answers when a test wants it to. Nothing runs while no method is being called, so either
//! can be silent.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use h2::SendStream;
use h2::server::{Connection, SendResponse};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::frames::{Begun, Frames, Reply};
use super::soon::SOON;

#[path = "../frames/mod.rs"]
pub(crate) mod frames;

/// The gRPC message of a request that says `test` in its field 1.
pub(crate) const TEST: &[u8] = b"\0\0\0\0\x06\x0a\x04test";

/// What service1 answers to it.
pub(crate) const ANSWER_1: &[u8] = b"\0\0\0\0\x06\x0a\x04TEST";

/// What service2 answers to it.
pub(crate) const ANSWER_2: &[u8] = b"\0\0\0\0\x0e\x0a\x0cHello, TEST!";

pub(crate) const SERVICE_1: &str = "/app.grpc.Service1/ProcessName";
pub(crate) const SERVICE_2: &str = "/app.grpc.Service2/SayHello";

/// The client's end of a TCP connection.
pub(crate) struct Client {
    runtime: Runtime,
    frames: Frames,
    connection: JoinHandle<Result<(), h2::Error>>,
    /// As the server sees it.
    pub(crate) address: SocketAddr,
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
        let (frames, connection, address) = runtime.block_on(soon(async {
            let stream = TcpStream::connect(address).await.expect("the node listens");
            stream.set_nodelay(true).expect("a connected socket has this option");
            let address = stream.local_addr().expect("a connected socket has an address");
            let (frames, connection) = Frames::over(stream, http2).await;
            (frames, tokio::spawn(connection), address)
        }));
        let mut client = Self { runtime, frames, connection, address };
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
        self.frames.begin(request)
    }

    /// Waits for the answer to a request.
    pub(crate) fn reply(&self, begun: Begun) -> Reply {
        self.runtime.block_on(soon(begun.reply()))
    }

    /// Takes back a request that was begun.
    pub(crate) fn cancel(&mut self, begun: Begun) {
        begun.cancel();
        self.flush();
    }

    /// Waits until the server has read all that was sent.
    pub(crate) fn flush(&mut self) {
        self.runtime.block_on(soon(self.frames.flush()));
    }

    /// Waits until the server has said GOAWAY and the connection is closed, in good order.
    pub(crate) fn ended(self) {
        let ended = self.runtime.block_on(soon(self.connection)).expect("no panic");
        ended.expect("GOAWAY with NO_ERROR");
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
        respond: SendResponse<Bytes>,
        headers: &[(&'static str, &'static str)],
        body: &'static [u8],
        trailers: &[(&'static str, &'static str)],
    ) {
        let mut stream = head(respond, headers, trailers.is_empty());
        if !trailers.is_empty() {
            stream.send_data(Bytes::from_static(body), false).expect("the call is open");
            let trailer = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            stream.send_trailers(trailers.iter().map(trailer).collect()).expect("the call is open");
        }
        self.write();
    }

    /// Begins the answer to a call with this. It goes on until what this gives is dropped.
    pub(crate) fn begin_answer(
        &mut self,
        respond: SendResponse<Bytes>,
        beginning: &'static [u8],
    ) -> SendStream<Bytes> {
        let mut stream = head(respond, &[], false);
        stream.send_data(Bytes::from_static(beginning), false).expect("the call is open");
        self.write();
        stream
    }

    /// What was said goes out while the connection is polled; it has gone out when it would wait.
    fn write(&mut self) {
        let connection = self.connection.as_mut().expect("a call came over it");
        let written = std::future::poll_fn(|cx| {
            let polled = connection.poll_accept(cx);
            assert!(!matches!(polled, std::task::Poll::Ready(Some(Ok(_)))), "one call at a time");
            std::task::Poll::Ready(())
        });
        self.runtime.block_on(written);
    }
}

/// Sends the head of an answer.
fn head(
    mut respond: SendResponse<Bytes>,
    headers: &[(&'static str, &'static str)],
    is_all: bool,
) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc");
    let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value));
    let head = head.body(()).expect("a valid head");
    respond.send_response(head, is_all).expect("the call is open")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

async fn soon<T>(outcome: impl Future<Output = T>) -> T {
    timeout(SOON, outcome).await.expect("it happens soon")
}
