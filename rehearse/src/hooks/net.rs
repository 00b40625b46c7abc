//! Tells which connections a node makes, which it cannot, and when it lets go of them.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transport::{Address, Io, Net};

use super::next;
use crate::facts::{Connection, ConnectionStep};

thread_local! {
    /// How many attempts there were: a rehearsal has its thread for itself.
    static ATTEMPTS: Cell<u32> = const { Cell::new(0) };
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
        Told { io, attempt: self, has_spoken: false }
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
    has_spoken: bool,
}

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

    fn spoken(&mut self) {
        if !std::mem::replace(&mut self.has_spoken, true) {
            self.attempt.step(ConnectionStep::Spoken, self.attempt.last);
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
            if buffer.filled().len() > before { self.spoken() } else { self.ended() }
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
