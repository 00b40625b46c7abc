//! A callee of bare HTTP/2 frames: it says of each call what a test wants it to say, and keeps what it saw.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use transport::Code;

/// What it says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Say {
    /// An empty message.
    Yes,
    /// A status, and what it says of being called again.
    No(Code, Option<&'static str>),
    /// That it has not read the call.
    Refused,
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

type Script = Rc<dyn Fn(usize) -> Say>;

impl Callee {
    /// Starts one that says `says` of each of its calls, by their number from 0.
    pub(crate) async fn start(says: impl Fn(usize) -> Say + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let uri = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let (seen, left, says): (_, _, Script) = (Rc::default(), Arc::new(Notify::new()), Rc::new(says));
        let calls = Calls { seen: Rc::clone(&seen), left: Arc::clone(&left), says };
        let tasks = tokio::task::spawn_local(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn_local(calls.clone().serve(connection));
            }
        });
        Self { uri, seen, left, tasks }
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
}

impl Calls {
    async fn serve(self, connection: TcpStream) {
        let mut connection = h2::server::handshake(connection).await.expect("it speaks HTTP/2");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let number = self.seen.borrow().len();
            self.seen.borrow_mut().push(Seen { headers: request.headers().clone(), at: Instant::now() });
            match (self.says)(number) {
                Say::Yes => answer(&mut respond, Some(&[0; 5]), Code::Ok),
                Say::No(code, pushback) => no(&mut respond, code, pushback),
                Say::Refused => respond.send_reset(Reason::REFUSED_STREAM),
                Say::HangsUp => return,
                Say::Breaks(code) => answer(&mut respond, None, code),
                Say::Nothing => {
                    let left = Arc::clone(&self.left);
                    tokio::task::spawn_local(async move {
                        // The request stays open for as long as its caller wants an answer.
                        let _request = request;
                        poll_fn(|cx| respond.poll_reset(cx)).await.ok();
                        left.notify_one();
                    });
                }
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
