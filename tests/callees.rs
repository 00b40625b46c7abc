//! What becomes of a call whose callee is no node, or is not there: it resets or refuses streams, or falls silent.
//!
//! The wire is a pipe in memory, and time passes at once when nothing else happens.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, try_join};
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use probe_contract::probe::{Act, Count};
use probe_contract::{ActRequest, CountRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};
use transport::grpc::{Grpc, Keepalive};
use transport::{Address, Client, Code, Io, Net};

/// What a pipe holds, in bytes.
const ROOM: usize = 64 * 1024;

const HOUR: Duration = Duration::from_secs(3600);

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Every connection is a pipe to whoever holds the other end, on which what the caller says is counted, in bytes.
#[derive(Debug)]
struct Pipes {
    connected: UnboundedSender<DuplexStream>,
    said: Arc<AtomicUsize>,
}

impl Net for Pipes {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        let ((near, middle), (inner, far)) = (duplex(ROOM), duplex(ROOM));
        self.connected.send(far).expect("the callee lives as long as the test");
        tokio::task::spawn_local(counted(middle, inner, self.said.clone()));
        Box::pin(async { Ok(Box::new(near) as Io) })
    }
}

/// Hands on what comes from either side, and counts what comes from the first.
async fn counted(caller: DuplexStream, callee: DuplexStream, said: Arc<AtomicUsize>) -> io::Result<()> {
    let ((mut from_caller, mut to_caller), (mut from_callee, mut to_callee)) = (split(caller), split(callee));
    let forth = async {
        let mut bytes = vec![0; ROOM];
        loop {
            let count = from_caller.read(&mut bytes).await?;
            if count == 0 {
                return to_callee.shutdown().await;
            }
            said.fetch_add(count, Ordering::Relaxed);
            to_callee.write_all(&bytes[..count]).await?;
        }
    };
    try_join(forth, tokio::io::copy(&mut from_callee, &mut to_caller)).await.map(drop)
}

/// Nobody answers, as behind a firewall that drops.
#[derive(Debug)]
struct Nowhere;

impl Net for Nowhere {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(std::future::pending())
    }
}

fn client_over(net: impl Net) -> Client {
    let (net, address) = (Arc::new(net) as Arc<dyn Net>, "http://callee:1".parse().expect("an address"));
    let carrier = Grpc::new("probe", &[address], &net, Keepalive::default(), LIMITS.message_size);
    Client::new(carrier, HOUR, LIMITS)
}

/// What a callee learns of its caller.
struct Seen {
    heads: UnboundedReceiver<HeaderMap>,
    /// How many bytes came.
    said: Arc<AtomicUsize>,
}

impl Seen {
    /// The head of the next call that has come.
    fn next(&mut self) -> Option<HeaderMap> {
        self.heads.try_recv().ok()
    }

    /// How many calls have come that nobody has looked at.
    fn count(mut self) -> usize {
        std::iter::from_fn(|| self.next()).count()
    }
}

/// A client, and what its callee sees. `answer` is given each call with its number, counted from 0.
fn callee(answer: impl FnMut(usize, SendResponse<Bytes>) + 'static) -> (Client, Seen) {
    let (connected, mut connections) = unbounded_channel();
    let (tell, heads) = unbounded_channel();
    let (mut answer, mut count) = (answer, 0);
    tokio::task::spawn_local(async move {
        let connection = connections.recv().await.expect("somebody calls");
        let mut connection = h2::server::handshake(connection).await.expect("HTTP/2");
        while let Some(Ok((request, respond))) = connection.accept().await {
            tell.send(request.into_parts().0.headers).ok();
            answer(count, respond);
            count += 1;
        }
    });
    let said = Arc::new(AtomicUsize::new(0));
    (client_over(Pipes { connected, said: said.clone() }), Seen { heads, said })
}

fn head() -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.body(()).expect("a valid head")
}

/// An answer with nothing in it.
fn answer_emptily(mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(head(), false).expect("the call is open");
    body.send_data(Bytes::from_static(&[0; 5]), false).expect("the call is open");
    let ok = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))]);
    body.send_trailers(ok).expect("the call is open");
}

#[test]
fn a_call_whose_stream_is_reset_has_the_code_of_grpc_for_the_reason_and_is_not_sent_again() {
    for (reason, code) in [
        (Reason::CANCEL, Code::Cancelled),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
        (Reason::PROTOCOL_ERROR, Code::Internal),
        (Reason::NO_ERROR, Code::Internal),
    ] {
        run_in_no_time(async move {
            let (client, seen) = callee(move |_, mut respond| respond.send_reset(reason));
            let error = client.call::<Act>(ActRequest::default()).await.expect_err("it was reset");
            assert_eq!((error.code(), seen.count()), (code, 1), "{reason:?}: {error}");
        });
    }
}

#[test]
fn a_call_that_was_refused_unread_is_sent_again_with_all_that_its_caller_added() {
    run_in_no_time(async {
        let (client, mut seen) = callee(|number, mut respond| match number {
            0 => respond.send_reset(Reason::REFUSED_STREAM),
            _ => answer_emptily(respond),
        });
        let mut request = tonic::Request::new(ActRequest::default());
        request.metadata_mut().insert("x-probe", "mine".parse().expect("a value"));
        client.exchange::<Act>(request).await.expect("the second attempt is answered");
        let (first, second) = (seen.next().expect("a call"), seen.next().expect("another"));
        assert_eq!(second.get("x-probe"), Some(&HeaderValue::from_static("mine")));
        for name in ["x-probe", "x-request-id", "request_id", "te", "content-type"] {
            assert_eq!(first.get(name), second.get(name), "{name}");
        }
        assert!(second.contains_key("grpc-timeout"), "{second:?}");
        assert_eq!(seen.count(), 0, "there is no third");
    });
}

#[test]
fn a_stream_ends_at_its_deadline_whatever_its_callee_does() {
    run_in_no_time(async {
        let mut open = Vec::new();
        let (client, _seen) = callee(move |_, mut respond| {
            open.push(respond.send_response(head(), false).expect("the call is open"));
        });
        let mut request = tonic::Request::new(CountRequest::default());
        request.set_timeout(SOON);
        let started = Instant::now();
        let mut answer = client.exchange::<Count>(request).await.expect("it has begun").into_inner();
        let end = timeout(HOUR, answer.next()).await.expect("it ends").expect("with an error");
        assert_eq!(end.expect_err("no message came").code(), Code::DeadlineExceeded);
        assert!(started.elapsed() < SOON * 2, "{:?}", started.elapsed());
    });
}

#[test]
fn a_caller_says_nothing_on_a_connection_without_calls() {
    run_in_no_time(async {
        let (client, seen) = callee(|_, respond| answer_emptily(respond));
        client.call::<Act>(ActRequest::default()).await.expect("an answer");
        sleep(Duration::from_secs(1)).await;
        let said = seen.said.load(Ordering::Relaxed);
        sleep(HOUR).await;
        assert_eq!(seen.said.load(Ordering::Relaxed), said, "a server may take pings amiss");
        client.call::<Act>(ActRequest::default()).await.expect("the connection is as good as before");
        assert_eq!(seen.count(), 2);
    });
}

#[test]
fn connecting_is_given_up_though_its_call_would_wait_longer() {
    run_in_no_time(async {
        let started = Instant::now();
        let error =
            client_over(Nowhere).call::<Act>(ActRequest::default()).await.expect_err("nobody is there");
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        let took = started.elapsed();
        assert!(took >= CONNECT_MAX && took < CONNECT_MAX + SOON, "{took:?}");
    });
}
