//! The connections to one endpoint: one, and more while the callee lets one carry fewer calls than there are (gRFC A105).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::uri::Authority;
use tokio::time::sleep;
use tonic::Status;

use super::subchannel::{self, Connecting, Sender, Subchannel};
use crate::gauges::Count;

/// The most connections to one endpoint.
const LINES_MAX: usize = 10;

/// How long one beyond the first stays without a call.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// One connection, and the calls on it.
pub(super) struct Line {
    subchannel: Arc<Subchannel>,
    calls: Count,
    /// Whether it got a call since this was looked at last.
    is_used: AtomicBool,
    /// Which of its connections has been told the names of the headers that vary.
    named: AtomicUsize,
}

/// The connections to one endpoint. The first stays; the others are closed when they have no call.
pub(super) struct Lines {
    make: Box<dyn Fn() -> Arc<Subchannel> + Send + Sync>,
    first: Arc<Line>,
    /// Held for moments only, and not at all while the first has room.
    others: Mutex<Vec<Arc<Line>>>,
}

/// What there is for a call.
pub(super) enum Pick {
    /// A connection, which has room unless there can be no more of them.
    Ready(Arc<Line>, Sender),
    /// A connection in the making.
    Wait(Arc<Line>, Connecting),
    /// None, and it is not yet time to try again.
    Down(Status),
}

impl Lines {
    /// None yet; `make` makes what connects.
    pub(super) fn new(make: impl Fn() -> Arc<Subchannel> + Send + Sync + 'static) -> Arc<Self> {
        let (first, make) = (Line::of(make()), Box::new(make));
        Arc::new(Self { make, first, others: Mutex::default() })
    }

    pub(super) fn first(&self) -> &Subchannel {
        &self.first.subchannel
    }

    /// A connection with room, the oldest first, so that others become idle. Where none has any, another is opened.
    pub(super) fn pick(self: &Arc<Self>) -> Pick {
        let first = self.first.subchannel.pick();
        let mut least = match &first {
            subchannel::Pick::Ready(sender) if self.first.has_room() => {
                return Pick::Ready(self.first.clone(), sender.clone());
            }
            subchannel::Pick::Ready(sender) => Some((self.first.clone(), sender.clone())),
            subchannel::Pick::Wait(_) | subchannel::Pick::Down(_) => None,
        };
        let is_full = least.is_some();
        let (mut making, mut is_down) = (None, false);
        let mut others = self.others();
        for line in others.iter().filter(|line| is_full || line.subchannel.state() == "ready") {
            match line.subchannel.pick() {
                subchannel::Pick::Ready(sender) if line.has_room() => {
                    return Pick::Ready(line.clone(), sender);
                }
                subchannel::Pick::Ready(sender) => {
                    least = least.filter(|(least, _)| least.calls.get() <= line.calls.get());
                    least = least.or_else(|| Some((line.clone(), sender)));
                }
                subchannel::Pick::Wait(connecting) => making = Some(Pick::Wait(line.clone(), connecting)),
                subchannel::Pick::Down(_) => is_down = true,
            }
        }
        match (first, least) {
            (subchannel::Pick::Wait(connecting), _) => Pick::Wait(self.first.clone(), connecting),
            (subchannel::Pick::Down(status), None) => Pick::Down(status),
            (subchannel::Pick::Ready(sender), None) => Pick::Ready(self.first.clone(), sender),
            // HTTP/2 holds back what is more than a connection carries.
            (_, Some((line, sender))) if is_down || others.len() + 1 >= LINES_MAX => {
                making.unwrap_or(Pick::Ready(line, sender))
            }
            (_, Some((line, sender))) => {
                making.or_else(|| self.open_another(&mut others)).unwrap_or(Pick::Ready(line, sender))
            }
        }
    }

    fn open_another(self: &Arc<Self>, others: &mut Vec<Arc<Line>>) -> Option<Pick> {
        let line = Line::of((self.make)());
        let subchannel::Pick::Wait(connecting) = line.subchannel.pick() else { return None };
        others.push(line.clone());
        line.subchannel.connections().closing.spawn(close_when_idle(Arc::downgrade(self), line.clone()));
        Some(Pick::Wait(line, connecting))
    }

    fn others(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of a connection that had no call for a while. There is a timer only while there is such a one.
async fn close_when_idle(lines: Weak<Lines>, line: Arc<Line>) {
    loop {
        sleep(IDLE_MAX).await;
        let Some(lines) = lines.upgrade() else { return };
        if !line.is_used.swap(false, Ordering::Relaxed) && line.calls.get() == 0 {
            lines.others().retain(|other| !Arc::ptr_eq(other, &line));
            return;
        }
    }
}

impl Line {
    fn of(subchannel: Arc<Subchannel>) -> Arc<Self> {
        let (is_used, named) = (AtomicBool::new(true), AtomicUsize::new(0));
        Arc::new(Self { subchannel, calls: Count::default(), is_used, named })
    }

    pub(super) fn authority(&self) -> &Authority {
        self.subchannel.authority()
    }

    /// Whether its connection knows the names of the headers that vary; from now on it does.
    pub(super) fn is_named(&self) -> bool {
        let made = self.subchannel.made();
        self.named.swap(made, Ordering::Relaxed) == made
    }

    /// Whether it carries one more call at once.
    pub(super) fn has_room(&self) -> bool {
        self.calls.get() < self.subchannel.streams_max()
    }

    pub(super) fn begin(&self) {
        self.calls.add();
        self.is_used.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.calls.take_away();
    }
}
