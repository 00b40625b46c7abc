//! One connection to one address: opened when it is first wanted, opened again when it is lost, left
//! alone for a while when it cannot be opened.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::uri::Authority;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;
use tracing::{debug, warn};

use super::greeting::{Greeted, Greeting};
use super::{Keepalive, backoff};
use crate::chance::chance;
use crate::gauges::Count;
use crate::net::{Address, Net};
use crate::status::{self, NotSent};

/// The longest that connecting takes, TCP and HTTP/2 handshakes together: gRPC's `MIN_CONNECT_TIMEOUT`.
const CONNECT_MAX: Duration = Duration::from_secs(20);

pub(super) type Sender = SendRequest<Body>;

/// The outcome of a connection in the making, for any number of waiting calls.
pub(super) type Connecting = Shared<BoxFuture<'static, Result<Sender, Status>>>;

/// What a subchannel can do for a call now.
pub(super) enum Pick {
    /// It is connected.
    Ready(Sender),
    /// It is connecting.
    Wait(Connecting),
    /// It is down, and not yet to be tried again.
    Down(Status),
}

pub(super) struct Subchannel {
    service: &'static str,
    address: Address,
    authority: Authority,
    net: Arc<dyn Net>,
    keepalive: Keepalive,
    connections: Arc<Connections>,
    made: AtomicUsize,
    /// The most calls that the callee lets the connection carry at a time, as its first SETTINGS have it.
    streams_max: AtomicU32,
    /// Held for moments only and never over an await. A carrier stays on its worker, so that it is only contended
    /// while somebody reads the gauges.
    state: Mutex<State>,
}

/// What is known of all connections to a service, whichever subchannel has them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// How many are open, those that were lost and have not ended yet among them.
    pub(super) open: Count,
    /// How many were made and then lost, as far as a call has found out.
    lost: AtomicUsize,
}

struct State {
    connection: Connection,
    /// Attempts in a row that failed.
    failures: u32,
    /// When the last attempt began.
    began: Instant,
    /// How many connections to the service were lost when the last attempt began.
    lost_before: usize,
}

enum Connection {
    Idle,
    Connecting(Connecting),
    Ready(Sender),
    Backoff { until: Instant, status: Status },
}

impl Subchannel {
    /// One at `address`, which is spoken to as `authority`. Its connections count among `connections`.
    pub(super) fn new(
        service: &'static str,
        (address, authority): (Address, Authority),
        net: Arc<dyn Net>,
        keepalive: Keepalive,
        connections: Arc<Connections>,
    ) -> Arc<Self> {
        let state = State { connection: Connection::Idle, failures: 0, began: Instant::now(), lost_before: 0 };
        let state = Mutex::new(state);
        let (made, streams_max) = (AtomicUsize::new(0), AtomicU32::new(u32::MAX));
        Arc::new(Self { service, address, authority, net, keepalive, connections, made, streams_max, state })
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// How its connection stands, as gauges name it.
    pub(super) fn state(&self) -> &'static str {
        match &self.state.lock().unwrap_or_else(PoisonError::into_inner).connection {
            Connection::Ready(sender) if !sender.is_closed() => "ready",
            Connection::Connecting(_) => "connecting",
            Connection::Backoff { until, .. } if *until > Instant::now() => "backoff",
            Connection::Idle | Connection::Ready(_) | Connection::Backoff { .. } => "idle",
        }
    }

    /// How many connections were made so far: what is known of the callee is of the last.
    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// The most calls that it carries at a time.
    pub(super) fn streams_max(&self) -> usize {
        usize::try_from(self.streams_max.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Until when it is left alone because connecting failed; none if it is not.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        match &self.state.lock().unwrap_or_else(PoisonError::into_inner).connection {
            Connection::Backoff { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Since when it is being connected to, if that has not failed before.
    pub(super) fn is_new_since(&self) -> Option<Instant> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = state.failures == 0 && matches!(state.connection, Connection::Connecting(_));
        is_new.then_some(state.began)
    }

    /// Ends the wait after a failed attempt if a connection to the service was lost since that began; whether it did. So
    /// there is one attempt beyond the backoff at most for each connection that was made and is lost, and none for a
    /// service that nobody can connect to.
    pub(super) fn ends_rest(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = matches!(state.connection, Connection::Backoff { .. });
        let ends = rests && state.lost_before < self.connections.lost.load(Ordering::Relaxed);
        if ends {
            state.connection = Connection::Idle;
        }
        ends
    }

    /// Looks what there is, and starts connecting where that is due.
    pub(super) fn pick(self: &Arc<Self>) -> Pick {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.connection {
            Connection::Ready(sender) if !sender.is_closed() => {
                return Pick::Ready(sender.clone());
            }
            Connection::Connecting(connecting) => return Pick::Wait(connecting.clone()),
            Connection::Backoff { until, status } if *until > Instant::now() => {
                return Pick::Down(status.clone());
            }
            // Lost: that is tried once more without a wait.
            Connection::Ready(_) => {
                self.connections.lost.fetch_add(1, Ordering::Relaxed);
            }
            // Never connected, or down for long enough.
            Connection::Idle | Connection::Backoff { .. } => {}
        }
        let connecting = self.clone().start_connecting();
        state.lost_before = self.connections.lost.load(Ordering::Relaxed);
        state.connection = Connection::Connecting(connecting.clone());
        state.began = Instant::now();
        Pick::Wait(connecting)
    }

    /// Connects in a task of its own, so that a call that gives up waiting does not undo the work.
    fn start_connecting(self: Arc<Self>) -> Connecting {
        let (tell, told) = oneshot::channel();
        tokio::task::spawn_local(async move {
            // Whatever happens, the outcome is settled: calls wait for it.
            let connect = AssertUnwindSafe(self.connect()).catch_unwind();
            let outcome = timeout(CONNECT_MAX, connect).await;
            let outcome = outcome.unwrap_or_else(|_| Ok(Err("timed out".into())));
            let outcome = outcome.unwrap_or_else(|_| Err("connecting panicked".into()));
            // Nobody may be waiting any more; the next call finds the outcome in the state.
            drop(tell.send(self.settle(outcome)));
        });
        let gone = || status::not_sent(NotSent::Unreachable, "the worker is shutting down");
        told.map(move |outcome| outcome.unwrap_or_else(|_| Err(gone()))).boxed().shared()
    }

    /// Connected means that the callee has spoken HTTP/2, not only that it accepted a connection: one
    /// that accepts and hangs up, or speaks another language, must not be tried again at once.
    async fn connect(&self) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
        let io = self.net.connect(&self.address).await?;
        let (io, greeting) = Greeted::new(io);
        let (sender, connection) = Builder::new(Local)
            .timer(TokioTimer::new())
            .keep_alive_interval(self.keepalive.interval)
            .keep_alive_timeout(self.keepalive.timeout)
            .keep_alive_while_idle(false)
            .handshake(TokioIo::new(io))
            .await?;
        let (service, address, connections) = (self.service, self.address.clone(), self.connections.clone());
        tokio::task::spawn_local(async move {
            let _one = connections.open.one();
            if let Err(error) = connection.await {
                debug!(peer = service, %address, %error, "connection lost");
            }
        });
        // The answer may have been lost with the power of the callee, and nothing is sent that would tell.
        let greeting = timeout(self.keepalive.greeting, greeting).await;
        let greeting = greeting.map_err(|_| "the peer accepted, and does not speak HTTP/2")?;
        match greeting.map_err(|_| "the peer hung up before it spoke HTTP/2")? {
            Greeting::Http2(streams_max) => {
                self.streams_max.store(streams_max.unwrap_or(u32::MAX), Ordering::Relaxed);
                Ok(sender)
            }
            Greeting::Other => Err("the peer speaks something else than HTTP/2".into()),
        }
    }

    fn settle(
        &self,
        outcome: Result<Sender, Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<Sender, Status> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(sender) => {
                debug!(peer = self.service, address = %self.address, "connected");
                self.made.fetch_add(1, Ordering::Relaxed);
                (state.connection, state.failures) = (Connection::Ready(sender.clone()), 0);
                Ok(sender)
            }
            Err(error) => {
                let failures = state.failures.saturating_add(1);
                let wait = backoff::wait(failures, chance());
                let next_try_in_ms = wait.as_secs_f64() * 1e3;
                warn!(peer = self.service, address = %self.address, %error, next_try_in_ms, "cannot connect");
                // The caller may be anybody: it learns which service is down, not where it would be.
                let status =
                    status::not_sent(NotSent::Unreachable, format!("{} cannot be reached", self.service));
                let until = Instant::now() + wait;
                let connection = Connection::Backoff { until, status: status.clone() };
                (state.connection, state.failures) = (connection, failures);
                Err(status)
            }
        }
    }
}

/// Runs hyper's tasks on this worker, and not among the runtime's tasks at large: that keeps those in lists by their
/// ids, which count for the whole process, so that the order in which they end with their host is no seed's.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

impl fmt::Debug for Subchannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subchannel").field(&self.address).finish()
    }
}
