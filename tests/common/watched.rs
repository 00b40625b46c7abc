//! A callee that says whether it serves, as it is told, and the carrier of who asks it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::DuplexStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use transport::grpc::{Grpc, Keepalive};
use transport::{Address, Code, Gauges, Net};

use super::limits::LIMITS;
use super::ways::Ways;

const MS: Duration = Duration::from_millis(1);

/// What a callee does with those who ask whether it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Serving,
    NotServing,
    /// It takes the question, and says nothing.
    Nothing,
    /// It says that it serves, and ends the stream.
    ServingOnce,
    /// It ends the stream with this status.
    Fails(Code),
    HangsUp,
}

/// A server of bare frames, and what it has seen.
pub(crate) struct Callee {
    address: Address,
    says: Cell<Says>,
    news: Notify,
    calls: Cell<usize>,
    /// When it was asked whether it serves.
    pub(crate) asked: RefCell<Vec<Instant>>,
    /// Streams on which it tells whether it serves that have not ended.
    pub(crate) told: Cell<usize>,
    door: mpsc::UnboundedSender<DuplexStream>,
    pub(crate) made: Cell<usize>,
}

impl Callee {
    pub(crate) fn start(number: usize, says: Says, streams_max: u32) -> Rc<Self> {
        let (door, mut guests) = mpsc::unbounded_channel();
        let address = format!("http://10.0.0.{number}:50051").parse().expect("a valid address");
        let (news, calls, asked, told, made) = Default::default();
        let callee = Rc::new(Self { address, says: Cell::new(says), news, calls, asked, told, door, made });
        let server = callee.clone();
        tokio::task::spawn_local(async move {
            while let Some(guest) = guests.recv().await {
                server.made.set(server.made.get() + 1);
                let server = server.clone();
                tokio::task::spawn_local(async move { server.serve(guest, streams_max).await.ok() });
            }
        });
        callee
    }

    pub(crate) fn is(&self, says: Says) {
        self.says.set(says);
        self.news.notify_waiters();
    }

    /// How many calls came to it since this was asked last.
    pub(crate) fn calls(&self) -> usize {
        self.calls.take()
    }

    async fn serve(self: Rc<Self>, guest: DuplexStream, streams_max: u32) -> Result<(), h2::Error> {
        let mut server = h2::server::Builder::new();
        let mut connection = server.max_concurrent_streams(streams_max).handshake::<_, Bytes>(guest).await?;
        while let Some(stream) = connection.accept().await {
            let (request, respond) = stream?;
            if request.uri().path() != "/grpc.health.v1.Health/Watch" {
                self.calls.set(self.calls.get() + 1);
                tokio::task::spawn_local(async move { answer(respond).await.ok() });
                continue;
            }
            self.asked.borrow_mut().push(Instant::now());
            if self.says.get() == Says::HangsUp {
                return Ok(());
            }
            let server = self.clone();
            tokio::task::spawn_local(async move {
                server.told.set(server.told.get() + 1);
                server.tell(request.into_body(), respond).await.ok();
                server.told.set(server.told.get() - 1);
            });
        }
        Ok(())
    }

    /// Tells whether it serves, and again whenever that changes.
    async fn tell(
        &self,
        mut asked: h2::RecvStream,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let asked = asked.data().await.expect("a message")?;
        assert_eq!(&asked[5..], b"\x0a\x0frehearsal.Probe", "field 1, the full name");
        if let Says::Fails(code) = self.says.get() {
            let mut head = head();
            head.headers_mut().insert("grpc-status", HeaderValue::from(code as i32));
            // Whoever reads this must not stumble.
            head.headers_mut().insert("grpc-status-details-bin", HeaderValue::from_static("%%%"));
            return respond.send_response(head, true).map(drop);
        }
        let mut body = respond.send_response(head(), false)?;
        loop {
            let news = self.news.notified();
            match self.says.get() {
                Says::Serving | Says::ServingOnce => body.send_data(word(1), false)?,
                Says::NotServing => body.send_data(word(2), false)?,
                Says::Nothing => {}
                Says::Fails(code) => return body.send_trailers(status(code)),
                Says::HangsUp => {
                    body.send_reset(h2::Reason::INTERNAL_ERROR);
                    return Ok(());
                }
            }
            if self.says.get() == Says::ServingOnce {
                return body.send_trailers(status(Code::Ok));
            }
            tokio::select! {
                () = news => {}
                reset = std::future::poll_fn(|cx| body.poll_reset(cx)) => return reset.map(drop),
            }
        }
    }
}

fn head() -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.body(()).expect("a head")
}

fn status(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    trailers
}

/// A `HealthCheckResponse` with this status.
fn word(status: u8) -> Bytes {
    Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status])
}

async fn answer(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    sleep(MS).await;
    let mut body = respond.send_response(head(), false)?;
    body.send_data(Bytes::from_static(&[0; 5]), false)?;
    body.send_trailers(status(Code::Ok))
}

/// A carrier to these callees that asks each whether it serves, and what it holds.
pub(crate) fn carrier(callees: &[&Rc<Callee>]) -> (Grpc, Gauges) {
    let ways = callees.iter().map(|callee| (callee.address.clone(), callee.door.clone())).collect();
    let (net, gauges) = (Arc::new(Ways(ways)) as Arc<dyn Net>, Gauges::new());
    let addresses: Vec<_> = callees.iter().map(|callee| callee.address.clone()).collect();
    let (keepalive, size, health) = (Keepalive::default(), LIMITS.message_size, Some("rehearsal.Probe"));
    let carrier = Grpc::with_health_check("probe", &addresses, &net, keepalive, size, health);
    carrier.watch(&gauges);
    (carrier, gauges)
}
