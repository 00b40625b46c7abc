//! The connections to one endpoint: one, and more while the callee lets one carry fewer calls than there are (gRFC A105).
//!
//! Where there can be no more, further calls wait for their turn. HTTP/2 would hold them back, too, but with the timeout
//! that they had when they came, and behind one connection while another has room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::line::{Line, Pick, Turn, Turns};
use super::subchannel::{Connecting, Subchannel};

/// The most connections to one endpoint.
const LINES_MAX: usize = 10;

/// How long one beyond the first stays without a call.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The connections to one endpoint. The first stays; the others are closed when they have no call.
pub(super) struct Lines {
    make: Box<dyn Fn() -> Arc<Subchannel> + Send + Sync>,
    first: Arc<Line>,
    turns: Arc<Turns>,
    /// Held for moments only, and not at all while the first has room.
    others: Mutex<Vec<Arc<Line>>>,
}

impl Lines {
    /// None yet; `make` makes what connects.
    pub(super) fn new(make: impl Fn() -> Arc<Subchannel> + Send + Sync + 'static) -> Arc<Self> {
        let (turns, make) = (Arc::default(), Box::new(make));
        let first = Line::of(make(), &turns);
        Arc::new(Self { make, first, turns, others: Mutex::default() })
    }

    /// Waits until a connection has room, behind those that came before, and has that room for itself.
    pub(super) fn turn(&self) -> Turn {
        self.turns.wait()
    }

    /// Waits until whoever waits for room is to look again what there is.
    pub(super) async fn changed(&self) {
        self.turns.changed().await;
    }

    pub(super) fn first(&self) -> &Subchannel {
        self.first.subchannel()
    }

    /// A connection with room, the oldest first, so that others become idle. Where all that are connected are full, another is opened;
    /// none while one is in the making or could not be made a moment ago, or while the first is not there.
    pub(super) fn pick(self: &Arc<Self>) -> Pick {
        let first = self.first.pick();
        if let Pick::Ready(..) = first {
            return first;
        }
        let is_full = matches!(first, Pick::Full { .. });
        let (mut making, mut until, mut is_down, mut has_full) = (None, None, false, is_full);
        let mut others = self.others();
        for line in others.iter().filter(|line| is_full || line.is_there()) {
            match line.pick() {
                ready @ Pick::Ready(..) => return ready,
                Pick::Full { .. } => has_full = true,
                Pick::Wait(line, connecting) => making = Some((line, connecting)),
                Pick::Down(_) => {
                    is_down = true;
                    until = until.into_iter().chain(line.subchannel().rests_until()).min();
                }
            }
        }
        match first {
            Pick::Wait(line, connecting) if has_full => {
                Pick::Full { making: Some((line, connecting)), until: None }
            }
            Pick::Down(_) if has_full => Pick::Full { making: None, until: self.first().rests_until() },
            Pick::Wait(..) | Pick::Down(_) | Pick::Ready(..) => first,
            Pick::Full { .. } if making.is_none() && !is_down && others.len() + 1 < LINES_MAX => {
                Pick::Full { making: self.open_another(&mut others), until: None }
            }
            Pick::Full { .. } => Pick::Full { making, until },
        }
    }

    fn open_another(self: &Arc<Self>, others: &mut Vec<Arc<Line>>) -> Option<(Arc<Line>, Connecting)> {
        let line = Line::of((self.make)(), &self.turns);
        others.push(line.clone());
        line.subchannel().connections().closing.spawn(close_when_idle(Arc::downgrade(self), line.clone()));
        match line.pick() {
            Pick::Wait(line, connecting) => Some((line, connecting)),
            Pick::Ready(..) | Pick::Full { .. } | Pick::Down(_) => None,
        }
    }

    /// Gives the room that there is to those who wait.
    pub(super) fn give_turns(&self) {
        self.first.give_turns();
        let others = self.others().clone();
        others.iter().for_each(Line::give_turns);
    }

    fn others(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of a connection that had no call for a while. There is a timer only while there is such a one. One that could not be
/// made stays until it may be tried again: another one in its place would be tried at once.
async fn close_when_idle(lines: Weak<Lines>, line: Arc<Line>) {
    loop {
        sleep(IDLE_MAX).await;
        let Some(lines) = lines.upgrade() else { return };
        if line.is_idle() && !matches!(line.subchannel().state(), "connecting" | "backoff") {
            lines.others().retain(|other| !Arc::ptr_eq(other, &line));
            return;
        }
    }
}
