//! What becomes of an answer that its client does not read, though it lives and answers every ping.
//!
//! The wire is a pipe in memory, and time passes at once when nothing else happens.

mod common;
mod frames;

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use common::{Event, LIMITS, SOON, host, run_in_no_time};
use frames::{Begun, Frames, post};
use h2::{Reason, RecvStream};
use http::{HeaderName, HeaderValue};
use probe_contract::probe::{self, Act, Count};
use probe_contract::{ActRequest, CountRequest, Deed};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use transport::grpc::{self, Keepalive};
use transport::memory::Memory;
use transport::{CallerAddress, Client, Drain, Method, Router, ServiceClient as _, rest};

/// Codes of gRPC as they are on the wire.
const OK: u32 = 0;
const RESOURCE_EXHAUSTED: u32 = 8;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const HOUR: Duration = Duration::from_secs(3600);

/// How long a client may leave an answer unread.
const UNREAD_MAX: Duration = Duration::from_secs(30);

/// More numbers than anybody will ever read.
const ENDLESS: CountRequest = CountRequest { messages: u32::MAX, then: 0 };

fn probe() -> (Router, mpsc::UnboundedReceiver<Event>) {
    let memory = Memory::new();
    let (router, events, _) = host(&probe::Client::new(Client::new(memory.clone(), SOON, LIMITS)));
    memory.lead_to(&router);
    (router, events)
}

/// A client of the gRPC edge that reads what it is told to read.
struct Http2 {
    frames: Frames,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Http2 {
    /// `window` is what the client takes of each answer before it has read, in bytes.
    async fn open(window: u32) -> Self {
        let (router, events) = probe();
        let server = grpc::Server::new(router, SOON, Keepalive::default());
        let (near, far) = duplex(64 * 1024);
        let connection = Drain::new().work();
        tokio::task::spawn_local(async move {
            server.serve_connection(Box::new(far), CallerAddress::Unix, connection).await;
        });
        let mut http2 = h2::client::Builder::new();
        let (frames, connection) = Frames::over(near, http2.initial_window_size(window)).await;
        tokio::task::spawn_local(connection);
        Self { frames, events }
    }

    fn begin<M: Method<Request: prost::Message>>(
        &mut self,
        request: &M::Request,
        deadline: Option<&'static str>,
    ) -> Begun {
        let mut head = post(M::PATH);
        let deadline = deadline.map(|deadline| (GRPC_TIMEOUT, HeaderValue::from_static(deadline)));
        head.headers_mut().extend(deadline);
        let mut begun = self.frames.begin(head);
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(u32::try_from(request.encoded_len()).expect("a short message"));
        request.encode(&mut message).expect("a buffer grows as needed");
        begun.send(&message, true);
        begun
    }

    /// The answer to a call, whose head has come.
    async fn answer<M: Method<Request: prost::Message>>(
        &mut self,
        request: &M::Request,
        deadline: Option<&'static str>,
    ) -> RecvStream {
        self.begin::<M>(request, deadline).answer().await.into_body()
    }

    /// The code of a call.
    async fn code<M: Method<Request: prost::Message>>(&mut self, request: &M::Request) -> Option<u32> {
        self.begin::<M>(request, None).reply().await.code()
    }
}

/// Takes what comes and makes no room for more, until the answer is given up.
async fn given_up(mut answer: RecvStream) -> h2::Error {
    let given_up = async {
        loop {
            if let Err(error) = answer.data().await.expect("the answer has no end") {
                return error;
            }
        }
    };
    timeout(HOUR, given_up).await.expect("it is given up")
}

/// Reads to the end, and lets `pause` pass after each piece of at most `window` bytes.
async fn read_slowly(mut answer: RecvStream, window: usize, pause: Duration) -> (usize, Option<Bytes>) {
    let (mut total, mut unread) = (0, 0);
    while let Some(data) = answer.data().await {
        let data = data.expect("the answer is not given up");
        total += data.len();
        unread += data.len();
        if unread == window {
            sleep(pause).await;
            answer.flow_control().release_capacity(unread).expect("this much was received");
            unread = 0;
        }
    }
    let trailers = answer.trailers().await.expect("the answer comes to its end").expect("trailers");
    (total, trailers.get("grpc-status").map(|status| Bytes::copy_from_slice(status.as_bytes())))
}

#[test]
fn a_stream_that_its_client_does_not_read_is_given_up_and_makes_room_for_others() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let started = Instant::now();
        let mut unread = Vec::new();
        for _ in 0..LIMITS.calls {
            unread.push(client.answer::<Count>(&ENDLESS, None).await);
        }
        assert_eq!(client.code::<Count>(&ENDLESS).await, Some(RESOURCE_EXHAUSTED));
        for answer in unread {
            assert_eq!(given_up(answer).await.reason(), Some(Reason::CANCEL));
        }
        let took = started.elapsed();
        assert!(took >= UNREAD_MAX && took < UNREAD_MAX + SOON, "{took:?}");
        assert_eq!(client.code::<Act>(&ActRequest::default()).await, Some(OK));
    });
}

#[test]
fn a_deadline_that_is_far_away_does_not_keep_an_unread_answer() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let started = Instant::now();
        let answer = client.answer::<Count>(&ENDLESS, Some("1H")).await;
        assert_eq!(given_up(answer).await.reason(), Some(Reason::CANCEL));
        assert!(started.elapsed() < UNREAD_MAX + SOON, "{:?}", started.elapsed());
    });
}

#[test]
fn an_answer_that_its_client_does_not_read_is_given_up_soon_after_its_deadline() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let started = Instant::now();
        let answer = client.answer::<Count>(&ENDLESS, Some("3S")).await;
        given_up(answer).await;
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    });
}

#[test]
fn a_stream_that_has_nothing_to_say_is_left_alone() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let quiet = CountRequest { messages: 1, then: Deed::Hang.into() };
        let mut answer = client.answer::<Count>(&quiet, None).await;
        assert_eq!(client.events.recv().await, Some(Event::Started));
        assert!(timeout(24 * HOUR, client.events.recv()).await.is_err(), "it was dropped");
        answer.data().await.expect("a message").expect("the stream is open");
    });
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_its_answer() {
    const WINDOW: usize = 16 * 1024;
    run_in_no_time(async {
        let mut client = Http2::open(WINDOW as u32).await;
        let long = CountRequest { messages: 50_000, then: 0 };
        let answer = client.answer::<Count>(&long, None).await;
        let started = Instant::now();
        let (total, status) = read_slowly(answer, WINDOW, UNREAD_MAX - Duration::from_secs(1)).await;
        assert_eq!((total / 50_000, status), (8, Some("0".into())));
        assert!(started.elapsed() > 10 * UNREAD_MAX, "{:?}", started.elapsed());
    });
}

/// A client of the REST edge that has sent `bytes`, and the edge, which ends when it is done with the client.
async fn http1(bytes: &str) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (router, _) = probe();
    let drain = Drain::new();
    let options = rest::Options { deadline: SOON, headers: Vec::new(), attempts_header: None };
    let server = rest::Server::new(router, options, drain.clone()).await;
    // Room for the request, and for no answer.
    let (mut near, far) = duplex(100);
    let connection = drain.work();
    let serving = tokio::task::spawn_local(async move {
        server.serve_connection(Box::new(far), CallerAddress::Unix, connection).await;
    });
    near.write_all(bytes.as_bytes()).await.expect("the edge reads");
    (near, serving)
}

const REQUEST: &str = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\n\r\n";
const NO_REQUEST: &str = "hello\r\n\r\n";

#[test]
fn a_rest_answer_that_its_client_does_not_read_is_given_up_even_if_there_was_no_request() {
    for bytes in [REQUEST, NO_REQUEST] {
        run_in_no_time(async {
            let (_near, serving) = http1(bytes).await;
            let started = Instant::now();
            timeout(HOUR, serving).await.expect("it is given up").expect("no panic");
            let took = started.elapsed();
            assert!(took >= UNREAD_MAX && took < UNREAD_MAX + 2 * SOON, "{bytes:?}: {took:?}");
        });
    }
}

#[test]
fn a_rest_client_that_reads_slowly_gets_all_of_its_answer() {
    for (bytes, end) in [(REQUEST, "\"numbers\":[]}"), (NO_REQUEST, "\"}")] {
        run_in_no_time(async {
            let (mut near, _serving) = http1(bytes).await;
            let mut said = String::new();
            while !said.ends_with(end) {
                sleep(UNREAD_MAX - Duration::from_secs(1)).await;
                let mut piece = [0; 50];
                let count = near.read(&mut piece).await.expect("the answer is not given up");
                assert_ne!(count, 0, "the end of {said:?}");
                said.push_str(std::str::from_utf8(&piece[..count]).expect("ASCII"));
            }
            assert!(said.contains("x-request-id"), "{said}");
        });
    }
}
