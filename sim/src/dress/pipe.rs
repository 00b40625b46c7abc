//! One connection from a process to another, both halves of it in our hands: bytes are read here, wait for as long as
//! the link has it, and are written there.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::links::{Links, Way, Wire};

/// The most bytes of one segment, and the most segments that are under way in one direction: together what two sockets
/// would hold. Who writes more has to wait.
const SEGMENT_BYTES: usize = 16 * 1024;
const SEGMENTS: usize = 32;

/// What goes over a connection, in one direction.
enum Segment {
    Bytes(Vec<u8>),
    /// Nothing more will come.
    End,
    Reset,
}

/// The connection is to be reset, at both ends.
struct Broken;

/// Carries what passes between the caller and the callee of `wire`, until both have said all or the wire breaks.
pub(super) async fn carry(wire: &Wire, mut caller: TcpStream, mut callee: TcpStream, links: &Links) {
    let outcome = {
        let (from_caller, to_caller) = caller.split();
        let (from_callee, to_callee) = callee.split();
        let both = async {
            tokio::try_join!(
                biased;
                one_way(wire, wire.way, from_caller, to_callee, links),
                one_way(wire, wire.way.back(), from_callee, to_caller, links),
            )
        };
        tokio::select! {
            biased;
            () = wire.broken() => Err(Broken),
            outcome = both => outcome.map(drop),
        }
    };
    if outcome.is_err() {
        reset(caller);
        reset(callee);
    }
}

/// Closes a connection such that its other end is told that it broke.
pub(super) fn reset(stream: TcpStream) {
    // One that is gone already needs no reset.
    stream.set_zero_linger().ok();
}

async fn one_way(
    wire: &Wire,
    way: Way,
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    links: &Links,
) -> Result<(), Broken> {
    let (queue, segments) = mpsc::channel(SEGMENTS);
    let reading = async {
        read(way, from, queue, links).await;
        Ok(())
    };
    tokio::try_join!(biased; reading, write(wire, way, to, segments, links)).map(drop)
}

/// Reads segments, each with the time at which it arrives.
async fn read(way: Way, mut from: ReadHalf<'_>, queue: mpsc::Sender<(Instant, Segment)>, links: &Links) {
    loop {
        let mut bytes = vec![0; SEGMENT_BYTES];
        let segment = match from.read(&mut bytes).await {
            Ok(0) => Segment::End,
            Ok(count) => {
                bytes.truncate(count);
                Segment::Bytes(bytes)
            }
            Err(_) => Segment::Reset,
        };
        links.touch(way);
        let is_last = !matches!(segment, Segment::Bytes(_));
        let arrives = Instant::now() + links.latency(way);
        if queue.send((arrives, segment)).await.is_err() || is_last {
            return;
        }
    }
}

async fn write(
    wire: &Wire,
    way: Way,
    mut to: WriteHalf<'_>,
    mut segments: mpsc::Receiver<(Instant, Segment)>,
    links: &Links,
) -> Result<(), Broken> {
    while let Some((arrives, segment)) = segments.recv().await {
        sleep_until(arrives).await;
        links.pass(wire, way).await;
        match wire.forgotten_by() {
            // The receiver's machine has forgotten the connection, as after a restart: it answers with a reset.
            Some(host) if host == way.to => return Err(Broken),
            // The sender's machine has: what it sent before it went down is lost.
            Some(_) => return std::future::pending().await,
            None => {}
        }
        match segment {
            Segment::Bytes(bytes) => to.write_all(&bytes).await.map_err(|_| Broken)?,
            Segment::End => {
                // The other end may have gone meanwhile.
                to.shutdown().await.ok();
                return Ok(());
            }
            Segment::Reset => return Err(Broken),
        }
    }
    Ok(())
}
