//! A callee of bare HTTP/2 frames: it says of each call what a test wants it to say, and keeps what it saw.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep};
use transport::Code;

use super::ways::Way;

/// What it says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Say {
    /// An empty message.
    Yes,
    /// A status, and what it says of being called again.
    No(Code, Option<&'static str>),
    /// A status of HTTP and none of gRPC, as a proxy in front of nobody.
    Http(u16),
    /// That it has not read the call.
    Refused,
    /// That the call is over, for this reason of HTTP/2.
    Resets(Reason),
    /// Nothing, until its caller leaves.
    Nothing,
    /// It hangs up, on this call and all others of the connection.
    HangsUp,
    /// The head of an answer, and then this status in place of a message.
    Breaks(Code),
}

/// A call as it came in.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
}

/// One that listens. Dropped, it is gone with all of its connections.
pub(crate) struct Callee {
    pub(crate) uri: String,
    pub(crate) seen: Rc<RefCell<Vec<Seen>>>,
    /// A caller has left that was told nothing.
    pub(crate) left: Arc<Notify>,
    tasks: JoinHandle<()>,
}

/// What it says of each call, by its number.
type Script = Rc<dyn Fn(usize) -> Say>;

impl Callee {
    /// Starts one that says `says` of each of its calls, by their number from 0.
    pub(crate) async fn start(says: impl Fn(usize) -> Say + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let uri = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let calls = Calls::new(says, Duration::ZERO);
        let (seen, left) = (Rc::clone(&calls.seen), Arc::clone(&calls.left));
        let tasks = spawn_local(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn_local(calls.clone().serve(connection));
            }
        });
        Self { uri, seen, left, tasks }
    }

    /// Starts one in memory, for time that is not real: it thinks about each call for so long. Also returns the way to it.
    pub(crate) fn in_memory(
        number: usize,
        takes: Duration,
        says: impl Fn(usize) -> Say + 'static,
    ) -> (Self, Way) {
        let uri = format!("http://10.0.0.{number}:50051");
        let (door, mut guests) = mpsc::unbounded_channel();
        let way = (uri.parse().expect("a valid address"), door);
        let calls = Calls::new(says, takes);
        let (seen, left) = (Rc::clone(&calls.seen), Arc::clone(&calls.left));
        let tasks = spawn_local(async move {
            let mut connections = JoinSet::new();
            while let Some(guest) = guests.recv().await {
                connections.spawn_local(calls.clone().serve(guest));
            }
        });
        (Self { uri, seen, left, tasks }, way)
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    /// The values of a header of each of its calls; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let text = |seen: &Seen| {
            seen.headers.get(name).map_or("", |value| value.to_str().expect("it is ASCII")).to_owned()
        };
        self.seen.borrow().iter().map(text).collect()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

#[derive(Clone)]
struct Calls {
    seen: Rc<RefCell<Vec<Seen>>>,
    left: Arc<Notify>,
    says: Script,
    takes: Duration,
}

impl Calls {
    fn new(says: impl Fn(usize) -> Say + 'static, takes: Duration) -> Self {
        Self { seen: Rc::default(), left: Arc::default(), says: Rc::new(says), takes }
    }

    async fn serve(self, connection: impl AsyncRead + AsyncWrite + Unpin) {
        let mut connection = h2::server::handshake(connection).await.expect("it speaks HTTP/2");
        while let Some(Ok((request, respond))) = connection.accept().await {
            let number = self.seen.borrow().len();
            self.seen.borrow_mut().push(Seen { headers: request.headers().clone(), at: Instant::now() });
            match (self.says)(number) {
                Say::HangsUp => return,
                say if self.takes.is_zero() => self.say(say, request, respond),
                say => {
                    let calls = self.clone();
                    spawn_local(async move {
                        sleep(calls.takes).await;
                        calls.say(say, request, respond);
                    });
                }
            }
        }
    }

    fn say(&self, say: Say, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        match say {
            Say::Yes => answer(&mut respond, Some(&[0; 5]), Code::Ok),
            Say::No(code, pushback) => no(&mut respond, code, pushback),
            Say::Http(status) => {
                let head = http::Response::builder().status(status).body(()).expect("a valid head");
                respond.send_response(head, true).expect("an answer can be given");
            }
            Say::Refused => respond.send_reset(Reason::REFUSED_STREAM),
            Say::Resets(reason) => respond.send_reset(reason),
            Say::HangsUp => unreachable!("whoever hangs up says nothing"),
            Say::Breaks(code) => answer(&mut respond, None, code),
            Say::Nothing => {
                let left = Arc::clone(&self.left);
                spawn_local(async move {
                    // The request stays open for as long as its caller wants an answer.
                    let _request = request;
                    poll_fn(|cx| respond.poll_reset(cx)).await.ok();
                    left.notify_one();
                });
            }
        }
    }
}

fn head() -> http::Response<()> {
    let head = http::Response::builder().header("content-type", "application/grpc");
    head.body(()).expect("a valid head")
}

fn answer(respond: &mut SendResponse<Bytes>, message: Option<&'static [u8]>, code: Code) {
    let mut body = respond.send_response(head(), false).expect("an answer can begin");
    if let Some(message) = message {
        body.send_data(Bytes::from_static(message), false).expect("an answer can go on");
    }
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(code as i32))]);
    body.send_trailers(trailers).expect("an answer can end");
}

fn no(respond: &mut SendResponse<Bytes>, code: Code, pushback: Option<&'static str>) {
    let mut head = head();
    head.headers_mut().insert("grpc-status", HeaderValue::from(code as i32));
    if let Some(pushback) = pushback {
        head.headers_mut().insert("grpc-retry-pushback-ms", HeaderValue::from_static(pushback));
    }
    respond.send_response(head, true).expect("an answer can be given");
}
