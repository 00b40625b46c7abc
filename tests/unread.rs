//! What becomes of an answer that its client does not read, though it lives and answers every ping.
//!
//! The wire is a pipe in memory, and time passes at once when nothing else happens.

mod common;

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use common::{Event, LIMITS, SOON, host, run_in_no_time};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::Request;
use probe_contract::probe::{self, Act, Count};
use probe_contract::{ActRequest, CountRequest, Deed};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use transport::grpc::{self, Keepalive};
use transport::memory::Memory;
use transport::{CallerAddress, Client, Code, Drain, Method, Router, ServiceClient as _, rest};

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
    sender: SendRequest<Bytes>,
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
        let http2 = http2.initial_window_size(window).handshake(near).await;
        let (sender, connection) = http2.expect("HTTP/2");
        tokio::task::spawn_local(connection);
        Self { sender, events }
    }

    fn begin<M: Method<Request: prost::Message>>(
        &mut self,
        request: &M::Request,
        deadline: Option<&str>,
    ) -> ResponseFuture {
        let mut head = Request::post(format!("http://probe{}", M::PATH));
        head = head.header("content-type", "application/grpc").header("te", "trailers");
        if let Some(deadline) = deadline {
            head = head.header("grpc-timeout", deadline);
        }
        let head = head.body(()).expect("a valid head");
        let (response, mut body) = self.sender.send_request(head, false).expect("the connection is open");
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(u32::try_from(request.encoded_len()).expect("a short message"));
        request.encode(&mut message).expect("a buffer grows as needed");
        body.send_data(message.freeze(), true).expect("the stream is open");
        response
    }

    async fn answer(&mut self, response: ResponseFuture) -> RecvStream {
        response.await.expect("an answer").into_body()
    }

    /// The code of a call that is answered with nothing else.
    async fn code<M: Method<Request: prost::Message>>(&mut self, request: &M::Request) -> Code {
        let head = self.begin::<M>(request, None).await.expect("an answer").into_parts().0;
        head.headers.get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
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
            let response = client.begin::<Count>(&ENDLESS, None);
            unread.push(client.answer(response).await);
        }
        assert_eq!(client.code::<Count>(&ENDLESS).await, Code::ResourceExhausted);
        for answer in unread {
            assert_eq!(given_up(answer).await.reason(), Some(Reason::CANCEL));
        }
        let took = started.elapsed();
        assert!(took >= UNREAD_MAX && took < UNREAD_MAX + SOON, "{took:?}");
        assert_eq!(client.code::<Act>(&ActRequest::default()).await, Code::Ok);
    });
}

#[test]
fn a_deadline_that_is_far_away_does_not_keep_an_unread_answer() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let started = Instant::now();
        let response = client.begin::<Count>(&ENDLESS, Some("1H"));
        let answer = client.answer(response).await;
        assert_eq!(given_up(answer).await.reason(), Some(Reason::CANCEL));
        assert!(started.elapsed() < UNREAD_MAX + SOON, "{:?}", started.elapsed());
    });
}

#[test]
fn an_answer_that_its_client_does_not_read_is_given_up_soon_after_its_deadline() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let started = Instant::now();
        let response = client.begin::<Count>(&ENDLESS, Some("3S"));
        let answer = client.answer(response).await;
        given_up(answer).await;
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    });
}

#[test]
fn a_stream_that_has_nothing_to_say_is_left_alone() {
    run_in_no_time(async {
        let mut client = Http2::open(1000).await;
        let quiet = CountRequest { messages: 1, then: Deed::Hang.into() };
        let response = client.begin::<Count>(&quiet, None);
        let mut answer = client.answer(response).await;
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
        let response = client.begin::<Count>(&long, None);
        let answer = client.answer(response).await;
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
