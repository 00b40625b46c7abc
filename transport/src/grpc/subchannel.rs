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
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;
use tracing::{debug, warn};

use super::greeting::{Greeted, Greeting};
use super::watch::{Subject, Watch};
use super::{Keepalive, backoff};
use crate::chance::chance;
use crate::gauges::{Count, Gauge, Reading};
use crate::net::{Address, Net};
use crate::status::{self, NotSent};
use crate::tasks::Tasks;

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
    /// It is down, and not yet to be tried again, or its callee says that it does not serve.
    Down(Status),
}

/// What the connections to a service have in common.
#[derive(Debug)]
pub(super) struct Connections {
    /// Those that are open: the ones in use, and those that were lost and have not ended yet.
    pub(super) open: Count,
    /// Tells when a callee has said whether it serves, or a connection has ended.
    pub(super) changed: Arc<Notify>,
    /// The full name of the service, if its callees are asked whether they serve.
    pub(super) health: Option<&'static str>,
    /// How many were made and then lost: they have ended, or a call has found that they take no more.
    lost: AtomicUsize,
    /// What goes on beside calls: attempts to connect, questions to names, waits until a connection is idle, and streams of
    /// callees that say whether they serve.
    connecting: Tasks,
    pub(super) resolving: Tasks,
    pub(super) closing: Tasks,
    watching: Tasks,
}

impl Connections {
    /// None yet; callees are asked whether they serve if `health` names the service.
    pub(super) fn new(health: Option<&'static str>) -> Arc<Self> {
        let (open, changed, lost) = Default::default();
        let (connecting, resolving) = (Tasks::new("connecting"), Tasks::new("resolving"));
        let (closing, watching) = (Tasks::new("closing"), Tasks::new("watching"));
        Arc::new(Self { open, changed, health, lost, connecting, resolving, closing, watching })
    }

    /// Tells how many there are to `service`, and how many tasks beside.
    pub(super) fn tell(&self, service: &'static str, reading: &mut Reading) {
        reading.add(Gauge::CalleeConnectionsOpen, service, "", self.open.get());
        let tasks = [&self.connecting, &self.resolving, &self.closing, &self.watching];
        tasks.into_iter().for_each(|tasks| tasks.tell(service, reading));
    }
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
    /// With what the callee says of itself, if it is asked.
    Ready(Sender, Option<Watch>),
    Backoff {
        until: Instant,
        status: Status,
    },
}

impl Subchannel {
    /// One at `address`, which is spoken to as `authority`. Its connections count among the `connections` to the service.
    pub(super) fn new(
        service: &'static str,
        (address, authority): (Address, Authority),
        net: Arc<dyn Net>,
        keepalive: Keepalive,
        connections: Arc<Connections>,
    ) -> Arc<Self> {
        let state =
            State { connection: Connection::Idle, failures: 0, began: Instant::now(), lost_before: 0 };
        let state = Mutex::new(state);
        let (made, streams_max) = (AtomicUsize::new(0), AtomicU32::new(u32::MAX));
        Arc::new(Self { service, address, authority, net, keepalive, connections, made, streams_max, state })
    }

    /// What it has in common with others to the same service.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// How its connection stands, as gauges name it.
    pub(super) fn state(&self) -> &'static str {
        match &self.state.lock().unwrap_or_else(PoisonError::into_inner).connection {
            Connection::Ready(sender, watch) if !sender.is_closed() => {
                if serves(watch.as_ref()) {
                    "ready"
                } else {
                    "not serving"
                }
            }
            Connection::Connecting(_) => "connecting",
            Connection::Backoff { until, .. } if *until > Instant::now() => "backoff",
            Connection::Idle | Connection::Ready(..) | Connection::Backoff { .. } => "idle",
        }
    }

    /// How many connections were made so far: what is known of the callee is of the last.
    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// The most calls that it carries at a time, at least one.
    pub(super) fn streams_max(&self) -> usize {
        usize::try_from(self.streams_max.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Whether it takes no call now, since it is left alone, or its callee says that it does not serve.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state(), "backoff" | "not serving")
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
            Connection::Ready(sender, watch) if !sender.is_closed() => {
                return match serves(watch.as_ref()) {
                    true => Pick::Ready(sender.clone()),
                    false => Pick::Down(self.not_serving()),
                };
            }
            Connection::Connecting(connecting) => return Pick::Wait(connecting.clone()),
            Connection::Backoff { until, status } if *until > Instant::now() => {
                return Pick::Down(status.clone());
            }
            // It takes no more calls, though it may go on with those that it has: a new one is made at once, without a backoff.
            Connection::Ready(..) => {
                self.connections.lost.fetch_add(1, Ordering::Relaxed);
            }
            // Never connected, lost, or down for long enough.
            Connection::Idle | Connection::Backoff { .. } => {}
        }
        let connecting = self.clone().start_connecting();
        state.lost_before = self.connections.lost.load(Ordering::Relaxed);
        state.connection = Connection::Connecting(connecting.clone());
        state.began = Instant::now();
        Pick::Wait(connecting)
    }

    /// A connection has ended. If it is the one in use, it is lost from this moment on, and not only when a call asks for it:
    /// an attempt elsewhere that begins in between has begun after the loss.
    fn note_loss(&self) {
        self.note_loss_in(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn note_loss_in(&self, state: &mut State) {
        if matches!(&state.connection, Connection::Ready(sender, _) if sender.is_closed()) {
            self.connections.lost.fetch_add(1, Ordering::Relaxed);
            state.connection = Connection::Idle;
        }
    }

    /// Connects in a task of its own, so that a call that gives up waiting does not undo the work.
    fn start_connecting(self: Arc<Self>) -> Connecting {
        let (tell, told) = oneshot::channel();
        self.connections.connecting.clone().spawn(async move {
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
    /// that accepts and hangs up, or speaks another language, must not be tried again at once. Where callees are asked
    /// whether they serve, it has an answer, too.
    async fn connect(self: &Arc<Self>) -> Result<(Sender, Option<Watch>), Unconnected> {
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
        let (until_lost, lost) = oneshot::channel();
        let this = Arc::downgrade(self);
        // It counts as a connection.
        tokio::task::spawn_local(async move {
            let _one = connections.open.one();
            if let Err(error) = connection.await {
                debug!(peer = service, %address, %error, "connection lost");
            }
            drop(until_lost);
            this.upgrade().inspect(|this| this.note_loss());
            connections.changed.notify_waiters();
        });
        // The answer may have been lost with the power of the callee, and nothing is sent that would tell.
        let greeting = timeout(self.keepalive.greeting, greeting).await;
        let greeting = greeting.map_err(|_| "the peer accepted, and does not speak HTTP/2")?;
        match greeting.map_err(|_| "the peer hung up before it spoke HTTP/2")? {
            Greeting::Http2(streams_max) => {
                let streams_max = streams_max.unwrap_or(u32::MAX);
                let watch = self.watch(&sender, lost, streams_max).await?;
                // The watch takes one of the streams that the callee allows. One that allows none may allow some later, which is
                // HTTP/2's to know: it holds the one call back.
                let for_calls = (streams_max - u32::from(watch.is_some())).max(1);
                self.streams_max.store(for_calls, Ordering::Relaxed);
                Ok((sender, watch))
            }
            Greeting::Other => Err("the peer speaks something else than HTTP/2".into()),
        }
    }

    /// Asks whether the callee serves, if that is wanted. A connection that carries a single stream is left to calls.
    async fn watch(
        &self,
        sender: &Sender,
        lost: oneshot::Receiver<()>,
        streams_max: u32,
    ) -> Result<Option<Watch>, Unconnected> {
        let Some(name) = self.connections.health.filter(|_| streams_max > 1) else { return Ok(None) };
        let (address, authority) = (self.address.clone(), self.authority.clone());
        let patience = self.keepalive.greeting;
        let subject = Subject { service: self.service, name, address, authority, patience };
        let Connections { changed, watching, .. } = &*self.connections;
        let watch = Watch::begin(subject, sender.clone(), lost, changed.clone(), watching).await;
        Ok(Some(watch.ok_or("the peer hung up before it said whether it serves")?))
    }

    fn settle(&self, outcome: Result<(Sender, Option<Watch>), Unconnected>) -> Result<Sender, Status> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok((sender, watch)) => {
                debug!(peer = self.service, address = %self.address, "connected");
                self.made.fetch_add(1, Ordering::Relaxed);
                let serves = serves(watch.as_ref());
                (state.connection, state.failures) = (Connection::Ready(sender.clone(), watch), 0);
                // It may have ended already, when it was not in use yet.
                self.note_loss_in(&mut state);
                if serves { Ok(sender) } else { Err(self.not_serving()) }
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

    fn not_serving(&self) -> Status {
        status::not_sent(NotSent::Unreachable, format!("{} does not serve", self.service))
    }
}

/// Why there is no connection.
type Unconnected = Box<dyn std::error::Error + Send + Sync>;

/// Whether a callee serves; one that is not asked does.
fn serves(watch: Option<&Watch>) -> bool {
    watch.is_none_or(Watch::serves)
}

/// Runs hyper's tasks on this worker, and not among the runtime's tasks at large: that keeps those in lists by their
/// ids, which count for the whole process, so that the order in which they end with their host is no seed's. They are parts of
/// a connection, which is counted, and end with it.
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
