//! One accepted connection, from its first byte to its end.

use std::io;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tonic::Code;
use tracing::debug;

use super::bridge::Bridge;
use super::wire::Wire;
use crate::budget::FULL;
use crate::drain::OpenWork;
use crate::net::CallerAddress;
use crate::problem;

/// How large the head of a request may be, in bytes, and how many headers it may have.
const HEAD_MAX: usize = 128 * 1024;
const HEADERS_MAX: usize = 100;

/// How long, and for how many bytes, a connection that ends before its client has said all is read on.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1024 * 1024;

/// Serves one connection until its client closes it, or a drain has started and its last answer is out.
pub(super) async fn serve(bridge: Bridge, caller: CallerAddress, open: &OpenWork) {
    let mut wire = bridge.wire.clone();
    let ended = speak(bridge, open).await;
    let is_refused = ended.as_ref().is_err_and(hyper::Error::is_parse);
    // hyper says nothing to some of what it does not understand.
    let refusal = wire.take_refusal().or(is_refused.then_some(400));
    let closed = match (refusal, &ended) {
        (Some(status), _) => refuse(&mut wire, status, caller).await,
        (None, Ok(())) => linger(&mut wire).await,
        (None, Err(_)) => Ok(()),
    };
    match (ended, closed) {
        (Err(error), _) => debug!(peer = %caller, %error, "connection ended"),
        (_, Err(error)) => debug!(peer = %caller, %error, "connection ended"),
        (Ok(()), Ok(())) => {}
    }
}

/// Answers requests, one after the other. hyper reads into a buffer of eight KiB, which is there while it waits, too: so
/// there is no hyper until the client says something, nor when it has said nothing for a while.
async fn speak(mut bridge: Bridge, open: &OpenWork) -> hyper::Result<()> {
    let http1 = http1();
    let wire = bridge.wire.clone();
    loop {
        tokio::select! {
            biased;
            () = wire.said() => {}
            () = open.drain_started() => return Ok(()),
        }
        let mut connection = http1.serve_connection(TokioIo::new(wire.clone()), bridge);
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            () = open.drain_started() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                return connection.await;
            }
            () = wire.rests() => {
                let parts = connection.into_parts();
                wire.take_back(&parts.read_buf);
                bridge = parts.service;
            }
        }
    }
}

fn http1() -> Builder {
    let mut http1 = Builder::new();
    // Whom to wait for and how long is the wire's business, and so is to see who hangs up.
    http1.header_read_timeout(None).half_close(true);
    // A buffer may grow beyond its own limit before anything is looked for in it, so that this limit alone would
    // depend on how the head is cut into segments.
    http1.max_buf_size(HEAD_MAX).max_header_size(HEAD_MAX).max_headers(HEADERS_MAX);
    http1
}

/// Answers what is no request in the edge's own form of error.
async fn refuse(wire: &mut Wire, status: u16, caller: CallerAddress) -> io::Result<()> {
    let (code, detail) = match status {
        408 => (Code::DeadlineExceeded, "the request did not come in time"),
        429 => (Code::ResourceExhausted, FULL),
        414 => (Code::ResourceExhausted, "the target of the request is too long"),
        431 => (Code::ResourceExhausted, "the head of the request is too large"),
        _ => (Code::InvalidArgument, "this is not an HTTP/1.1 request"),
    };
    wire.write_all(&problem::to_no_request(status, code, detail, caller)).await?;
    linger(wire).await
}

/// Says that there is nothing more to say, and reads on until the client has said all, too, or for a while: closing
/// with unread bytes would reset the connection, and the client might never read the last answer.
async fn linger(wire: &mut Wire) -> io::Result<()> {
    wire.finish().await?;
    let rest = &mut wire.take(LINGER_BYTES);
    // Whatever comes, and however it ends, the connection is over.
    timeout(LINGER, tokio::io::copy(rest, &mut tokio::io::sink())).await.ok();
    Ok(())
}
