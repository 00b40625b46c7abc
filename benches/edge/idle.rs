//! What a connection costs that was used once and is idle.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::Error;
use crate::field;
use crate::options::Options;
use crate::program::{Program, pause};
use crate::progress::Progress;

/// So many at a time: below what a process may usually open.
const CONNECTIONS: usize = 800;
/// Connections before those that count: what the first ones cost is no more than once.
const WARM_UP: usize = 100;
/// How long the node is left alone: it puts away what an idle connection does not need, and gives back what was freed.
const SETTLE: Duration = Duration::from_secs(4);

const REST: &[u8] = b"GET /api/v1/name?name=test HTTP/1.1\r\nhost: node\r\n\r\n";
const ANSWER: &[u8] = b"TEST";

/// Resident bytes for each idle connection.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) rest: f64,
    pub(crate) grpc: f64,
}

pub(crate) fn measure(options: &Options, progress: &mut Progress) -> Result<Idle, Error> {
    let (mut node, rest, grpc) = field::whole_node(options)?;
    node.wait_for_answer(rest, "/api/v1/name?name=test", "{\"name\":\"TEST\"}")?;
    progress.say("idle connections");
    Ok(Idle { rest: weigh(&node, rest, REST)?, grpc: weigh(&node, grpc, &grpc_call())? })
}

fn weigh(node: &Program, address: SocketAddr, request: &[u8]) -> Result<f64, Error> {
    let open = |count| (0..count).map(|_| used(address, request)).collect::<io::Result<Vec<_>>>();
    let open = |count| open(count).map_err(Error::io("opening idle connections"));
    drop(open(WARM_UP)?);
    pause(SETTLE);
    let before = node.resident_kib()?;
    let _idle = open(CONNECTIONS)?;
    pause(SETTLE);
    let more = node.resident_kib()?.saturating_sub(before);
    Ok(more as f64 * 1024.0 / CONNECTIONS as f64)
}

/// A connection over which a request was answered.
fn used(address: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while !answer.windows(ANSWER.len()).any(|bytes| bytes == ANSWER) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    Ok(stream)
}

/// HTTP/2 as a client begins it, and one call to service1.
fn grpc_call() -> Vec<u8> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const DATA: u8 = 0;
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "node"),
        (":path", "/app.grpc.Service1/ProcessName"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let head: Vec<_> = head.into_iter().flat_map(|(name, value)| literal(name, value)).collect();
    let message = b"\0\0\0\0\x06\x0a\x04test";
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, b""),
        frame(HEADERS, END_HEADERS, 1, &head),
        frame(DATA, END_STREAM, 1, message),
    ]
    .concat()
}

/// A header as HPACK has it where nothing is indexed (RFC 7541, section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
