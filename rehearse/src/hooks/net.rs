//! Tells which connections a node makes, which it cannot, when it lets go of them, and which names it asks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transport::{Address, Io, Net};

use super::next;
use crate::facts::{Connection, ConnectionStep, NameAsked};

thread_local! {
    // A rehearsal has its thread for itself.
    /// How many attempts there were.
    static ATTEMPTS: Cell<u32> = const { Cell::new(0) };
    /// The hosts that names have led to, by their addresses.
    static HOSTS: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// The simulated network, each of whose connections is told.
#[derive(Debug)]
pub(crate) struct ToldNet(pub(crate) Arc<dyn Net>);

impl Net for ToldNet {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            let mut attempt = Attempt::begin(address);
            match self.0.connect(address).await {
                Ok(io) => Ok(Box::new(attempt.connected(io)) as Io),
                Err(error) => {
                    attempt.step(ConnectionStep::Failed(error.kind()), None);
                    Err(error)
                }
            }
        })
    }

    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            sim::tell(NameAsked(name.to_owned()), None);
            let found = self.0.resolve(name, port).await?;
            for address in found.iter().map(SocketAddr::ip) {
                let host = sim::host_at(address).unwrap_or_default();
                HOSTS.with_borrow_mut(|hosts| hosts.insert(address.to_string(), host));
            }
            Ok(found)
        })
    }
}

/// The host that an address is of, where a name has led there; what is no such address is a name itself.
pub(crate) fn host_of(address: &Address) -> String {
    match address {
        Address::Tcp { host, .. } | Address::Dns { name: host, .. } => {
            HOSTS.with_borrow(|hosts| hosts.get(host).cloned()).unwrap_or_else(|| host.clone())
        }
        Address::Unix(_) => String::new(),
    }
}

/// An attempt to connect, or a connection. What becomes of it is told when it is dropped, if not before.
struct Attempt {
    number: u32,
    address: Address,
    /// What it is to say when it is dropped.
    last: Option<ConnectionStep>,
}

impl Attempt {
    fn begin(address: &Address) -> Self {
        let mut attempt = Self { number: next(&ATTEMPTS), address: address.clone(), last: None };
        attempt.step(ConnectionStep::Begun, Some(ConnectionStep::GivenUp));
        attempt
    }

    fn connected(mut self, io: Io) -> Told {
        self.step(ConnectionStep::Connected, Some(ConnectionStep::Closed { by_other: false }));
        Told { io, attempt: self, first_word: Vec::new() }
    }

    fn step(&mut self, step: ConnectionStep, last: Option<ConnectionStep>) {
        self.last = last;
        sim::tell(Connection { attempt: self.number, address: self.address.clone(), step }, None);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(last) = self.last {
            self.step(last, None);
        }
    }
}

/// A connection that tells what becomes of it.
struct Told {
    io: Io,
    attempt: Attempt,
    /// The first bytes that were read, until there are as many as a frame of HTTP/2 begins with.
    first_word: Vec<u8>,
}

/// How many bytes a frame of HTTP/2 begins with: length, type, flags, stream.
const FRAME_HEAD: usize = 9;

/// The fourth of these, its type, when it is SETTINGS, with which a server begins.
const SETTINGS: u8 = 4;

impl Told {
    /// Takes note of what came of reading or writing: an error is an end that is not the node's own.
    fn note<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = polled {
            self.ended();
        }
        polled
    }

    fn ended(&mut self) {
        self.attempt.last = Some(ConnectionStep::Closed { by_other: true });
    }

    /// Takes note of what the other side says first. Something else than SETTINGS is the end of it.
    fn hear(&mut self, bytes: &[u8]) {
        let missing = FRAME_HEAD - self.first_word.len();
        self.first_word.extend(bytes.iter().take(missing));
        if missing == 0 || self.first_word.len() < FRAME_HEAD {
            return;
        }
        if self.first_word[3] == SETTINGS {
            self.attempt.step(ConnectionStep::Spoken, self.attempt.last);
        } else {
            self.ended();
        }
    }
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled {
            let heard = &buffer.filled()[before..];
            if heard.is_empty() { self.ended() } else { self.hear(heard) }
        }
        self.note(polled)
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(context);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(context);
        self.note(polled)
    }
}
