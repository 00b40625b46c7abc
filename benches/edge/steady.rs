//! A load at a fixed rate, whether answers come or not: a request is late by what those before it were late, too, which
//! a client that waits for each answer would not see (coordinated omission).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::program::{now, pause};

/// Requests in a second, over all connections: a load that leaves a machine of two cores idle for the most part, one that it
/// notices, and one that is a good share of what it can do.
pub(crate) const RATES: [u32; 3] = [2_000, 8_000, 16_000];

/// How many connections share them, each with a thread of its own.
const CONNECTIONS: u32 = 32;

/// The longest that one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a request took from the moment when it was due: half of them at most, 99 % of them, 99.9 %.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
}

/// Asks `address` for `path` for so long, at this rate.
pub(crate) fn drive(address: SocketAddr, path: &str, rate: u32, over: Duration) -> Result<Latency, Error> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let step = Duration::from_secs(1) / rate;
    let start = now() + Duration::from_millis(100);
    let ends = start + over;
    let taken = thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|index| {
                let due = Due { next: start + step * index, step: step * CONNECTIONS, ends };
                let request = request.as_bytes();
                scope.spawn(move || ask(address, request, due))
            })
            .collect();
        connections.into_iter().map(|one| one.join().expect("no panic")).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(latency(taken.concat()))
}

/// When one connection asks.
struct Due {
    next: Instant,
    step: Duration,
    ends: Instant,
}

impl Iterator for Due {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let next = self.next;
        self.next += self.step;
        (next < self.ends).then_some(next)
    }
}

fn ask(address: SocketAddr, request: &[u8], due: Due) -> Result<Vec<Duration>, Error> {
    let io = |source| Error::Io { what: format!("asking {address}"), source };
    let mut stream = TcpStream::connect(address).map_err(io)?;
    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(ANSWER_MAX))).map_err(io)?;
    let mut taken = Vec::new();
    let mut answer = [0; 4096];
    for due in due {
        pause(due.saturating_duration_since(now()));
        stream.write_all(request).map_err(io)?;
        // One answer fits into one segment, and no other is on its way.
        let length = stream.read(&mut answer).map_err(io)?;
        if !answer[..length].starts_with(b"HTTP/1.1 200") {
            return Err(Error::Load(String::from_utf8_lossy(&answer[..length.min(400)]).into_owned()));
        }
        taken.push(now() - due);
    }
    Ok(taken)
}

fn latency(mut taken: Vec<Duration>) -> Latency {
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}
