//! Clients over HTTP/1.1 that go: one that closes its own side waits for its answer, one that hangs up looks the same for a
//! while, one that resets its connection has gone.
//!
//! The wire is a pipe in memory, and time passes at once when nothing else happens.

mod common;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::http1::Edge;
use common::{Event, run_in_no_time};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// How long a request is handled on whose client has closed the connection, or its own side of it.
const HALF_CLOSED_MAX: Duration = SECOND;

const GET: &str = "GET /probe/hello HTTP/1.1\r\nhost: probe\r\n\r\n";
const HANG: &str = "GET /probe/hello?deed=HANG HTTP/1.1\r\nhost: probe\r\n\r\n";

#[test]
fn a_client_that_half_closes_is_answered() {
    for requests in [1, 3] {
        run_in_no_time(async {
            let mut edge = Edge::new().await;
            edge.occupy().await;
            let mut connection = edge.told(&GET.repeat(requests)).await;
            connection.near.shutdown().await.expect("a pipe can be closed");
            tokio::time::sleep(HALF_CLOSED_MAX * 9 / 10).await;
            edge.free.notify_one();
            assert_eq!(connection.rest().await.matches("HTTP/1.1 200 OK").count(), requests);
        });
    }
}

#[test]
fn a_client_that_hangs_up_is_taken_for_one_that_half_closes_for_a_second_and_then_cancelled() {
    for behind in ["", GET] {
        run_in_no_time(async {
            let mut edge = Edge::new().await;
            let mut connection = edge.told(&format!("{HANG}{behind}")).await;
            assert_eq!(edge.events.recv().await, Some(Event::Started));
            let started = Instant::now();
            drop(std::mem::replace(&mut connection.near, duplex(1).0));
            assert_eq!(edge.events.recv().await, Some(Event::Dropped));
            let took = started.elapsed();
            assert!(took >= HALF_CLOSED_MAX && took < HALF_CLOSED_MAX + SECOND / 10, "{took:?}");
            connection.served().await;
        });
    }
}

/// A stream that its client resets when it is told to.
struct Resettable(DuplexStream, Pin<Box<dyn Future<Output = ()> + Send>>);

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.1.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn a_client_that_resets_its_connection_is_cancelled_at_once() {
    run_in_no_time(async {
        let mut edge = Edge::new().await;
        let (mut near, far) = duplex(1024);
        let reset = Arc::new(Notify::new());
        let is_reset = reset.clone();
        let io = Resettable(far, Box::pin(async move { is_reset.notified().await }));
        let serving = edge.serve(Box::new(io));
        near.write_all(HANG.as_bytes()).await.expect("the edge reads");
        assert_eq!(edge.events.recv().await, Some(Event::Started));
        let started = Instant::now();
        reset.notify_one();
        assert_eq!(edge.events.recv().await, Some(Event::Dropped));
        serving.await.expect("no panic");
        assert!(started.elapsed() < SECOND / 10, "{:?}", started.elapsed());
    });
}
