//! The simulated network as hosts see it: a [`Net`] to connect with and a [`Listener`] to be connected to.
//!
//! The bytes travel over turmoil's sockets. Around each socket this module adds what turmoil has not: a
//! connection can be reset, a machine whose process is gone refuses, a seeded turn lets other tasks go
//! first, and every byte is hashed into the trace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use net::{Address, Io, Net};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::host::process::HostShared;
use crate::host::turn::poll_turn;
use crate::host::wire::Wire;
use crate::trace::event::{Passed, What};
use crate::trace::fingerprint::Fingerprint;
use crate::trace::recorder::{self, Recorder, Status};

/// Connects from the host that runs to any host of the simulation, by name.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimNet(());

impl SimNet {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl Net for SimNet {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            let Address::Tcp { host, port } = address else {
                let reason = "a simulation has no Unix sockets, and names are resolved before";
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            };
            let host = recorder::with(|recorder| name_of(recorder, host));
            let Some(target) = recorder::with(|recorder| listening(recorder, &host)) else {
                return refused().await;
            };
            let stream = tokio::select! {
                biased;
                stream = turmoil::net::TcpStream::connect((host.as_str(), *port)) => stream?,
                // turmoil would keep what is under way to a process that has ended until it is started again.
                () = target.refusal() => return refused().await,
            };
            let remote = stream.peer_addr()?;
            Ok(Box::new(Socket::new(stream, remote)) as Io)
        })
    }

    /// In a simulation a name is a list of hosts, with a point between them: `one.two` leads to both, but for those that
    /// the plan leaves out. Where it has one of them not answered for, the question is lost, and this never ends.
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            tokio::time::sleep(ANSWER_TIME).await;
            if recorder::with(|recorder| name.split('.').any(|host| recorder.is_silent(host))) {
                return std::future::pending().await;
            }
            let listed = recorder::with(|recorder| {
                name.split('.').filter_map(|host| recorder.listed(host)).collect::<Vec<_>>()
            });
            if listed.is_empty() && recorder::with(|recorder| recorder.is_denied()) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "nobody knows this name"));
            }
            Ok(listed.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        })
    }
}

/// How long a name takes to answer.
const ANSWER_TIME: Duration = Duration::from_millis(2);

/// The name of the host at this address, if it is one.
fn name_of(recorder: &Recorder, host: &str) -> String {
    let address = host.parse().ok().and_then(|address| recorder.hosts.at(address));
    address.map_or_else(|| host.to_owned(), |at| recorder.hosts.get(at).name.to_string())
}

/// The name of the host at this address.
///
/// # Panics
/// Where no rehearsal runs.
#[must_use]
pub fn host_at(address: IpAddr) -> Option<String> {
    recorder::with(|recorder| {
        let at = recorder.hosts.at(address)?;
        Some(recorder.hosts.get(at).name.to_string())
    })
}

/// How long it takes to hear that nobody listens.
const REFUSAL_TIME: Duration = Duration::from_millis(2);

/// What the machine of a process that is not there answers; it takes as long as over a healthy link.
async fn refused() -> io::Result<Io> {
    tokio::time::sleep(REFUSAL_TIME).await;
    Err(io::ErrorKind::ConnectionRefused.into())
}

/// The host, unless its machine answers for a process that is not there. Notes that a call went that way, too.
fn listening(recorder: &mut Recorder, host: &str) -> Option<Arc<HostShared>> {
    let target = recorder.hosts.named(host)?;
    if let Some(from) = recorder.hosts.current() {
        recorder.touch(from, target);
    }
    let target = recorder.hosts.get(target);
    (target.status != Status::Stopped).then(|| Arc::clone(&target.shared))
}

/// Accepts connections on a port of the host that runs.
pub struct Listener(turmoil::net::TcpListener);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.0.local_addr()).finish()
    }
}

impl Listener {
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        Ok(Self(listener))
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// None that turmoil is known to give; a host may end when there is one.
    pub async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (stream, caller) = self.0.accept().await?;
        Ok((Box::new(Socket::new(stream, caller)), caller))
    }
}

/// One end of a simulated connection.
#[derive(Debug)]
struct Socket {
    stream: turmoil::net::TcpStream,
    wire: Arc<Wire>,
    ports: u64,
}

impl Socket {
    fn new(stream: turmoil::net::TcpStream, remote: SocketAddr) -> Self {
        let local_port = stream.local_addr().map_or(0, |address| address.port());
        let ports = (u64::from(local_port) << 16) | u64::from(remote.port());
        let wire = recorder::with(|recorder| {
            let local = recorder.hosts.current().expect("only hosts have sockets");
            let remote = recorder.hosts.at(remote.ip()).expect("a socket leads to a host of the simulation");
            let wire = Arc::new(Wire::new(local, remote));
            recorder.hosts.add_wire(&wire);
            wire
        });
        Self { stream, wire, ports }
    }

    /// Hashes what passed, and tells the faults in force about it.
    fn passed(&self, how: &'static str, bytes: &[u8]) {
        recorder::with(|recorder| {
            recorder.touch(self.wire.local, self.wire.remote);
            if !recorder.kept.is_hashed() {
                return;
            }
            let mut hash = Fingerprint::default();
            hash.bytes(bytes);
            let hash = hash.value();
            recorder.push_frequent(how, &[self.ports, hash], |recorder| {
                let other = Arc::clone(&recorder.hosts.get(self.wire.remote).name);
                What::Bytes(Passed { how, other, bytes: bytes.len(), hash })
            });
        });
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire.check()?;
        std::task::ready!(poll_turn(context));
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &result {
            Poll::Pending => self.wire.register_reader(context),
            Poll::Ready(Ok(())) => self.passed("read", &buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        std::task::ready!(poll_turn(context));
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        match &result {
            Poll::Pending => self.wire.register_writer(context),
            Poll::Ready(Ok(written)) => self.passed("wrote", &bytes[..*written]),
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    /// A socket has nothing to flush, so that nobody learns of a reset by that.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
