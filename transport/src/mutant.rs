//! Planted bugs: proof that rehearsals find what they are there to find.
//!
//! Each is a mistake that has been made in real systems. None can be switched on in a release build: there
//! `is_planted` is the constant `false`, and what depends on it is not compiled in.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Each hop gives the next one a whole new deadline.
    DeadlineRestarted,
    /// The deadline is measured with the wall clock.
    DeadlineByWallClock,
    /// The deadline does not cover waiting for a connection.
    DeadlineNotOverConnecting,
    /// A call that reuses a lost place in line forgets whose it is: the request id goes with the first
    /// connection only.
    IdLostOnReconnect,
    /// A handler runs on after its caller has gone.
    CancelledHandlerRuns,
    /// Of two calls at once, one gets the answer of the other.
    AnswerOfAnother,
    /// A peer that was down is never tried again.
    NeverReconnects,
    /// A drain ends connections with calls on them.
    DrainDropsCalls,
    /// A panic in a handler kills its actor for good.
    PanicKillsActor,
    /// A lost connection is still used.
    StaleConnectionKept,
    /// A service takes on more calls than it says.
    NoAdmission,
    /// A call that was lost on the way is taken for one that was refused unread, and is sent again.
    LostMeansNotSent,
}

impl Mutant {
    /// All of them, by name.
    pub const ALL: &[(&str, Self)] = &[
        ("deadline-restarted", Self::DeadlineRestarted),
        ("deadline-by-wall-clock", Self::DeadlineByWallClock),
        ("deadline-not-over-connecting", Self::DeadlineNotOverConnecting),
        ("id-lost-on-reconnect", Self::IdLostOnReconnect),
        ("cancelled-handler-runs", Self::CancelledHandlerRuns),
        ("answer-of-another", Self::AnswerOfAnother),
        ("never-reconnects", Self::NeverReconnects),
        ("drain-drops-calls", Self::DrainDropsCalls),
        ("panic-kills-actor", Self::PanicKillsActor),
        ("stale-connection-kept", Self::StaleConnectionKept),
        ("no-admission", Self::NoAdmission),
        ("lost-means-not-sent", Self::LostMeansNotSent),
    ];

    /// The one called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, mutant)| *mutant)
    }
}

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Plants a bug on this thread, or takes it out. In a release build nothing happens.
pub fn plant(mutant: Option<Mutant>) {
    if cfg!(debug_assertions) {
        PLANTED.set(mutant);
    }
}

/// Whether `mutant` is planted on this thread.
#[inline]
pub(crate) fn is_planted(mutant: Mutant) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(mutant)
}

/// [`Mutant::AnswerOfAnother`]: the answer that came in the same moment for another call, if one did.
pub(crate) fn answer(own: Bytes) -> Bytes {
    thread_local! {
        static LAST: RefCell<Option<(Instant, Bytes)>> = const { RefCell::new(None) };
    }
    if !is_planted(Mutant::AnswerOfAnother) {
        return own;
    }
    let now = Instant::now();
    let last = LAST.replace(Some((now, own.clone())));
    last.filter(|(at, _)| *at == now).map_or(own, |(_, other)| other)
}

const WALL_DEADLINE: &str = "x-deadline-at";

/// [`Mutant::DeadlineByWallClock`]: says when the deadline is, not how much of it is left.
pub(crate) fn stamp_wall_deadline(headers: &mut HeaderMap) {
    let timeout = headers.get("grpc-timeout").and_then(crate::deadline::parse);
    if let Some(timeout) = timeout {
        let at = wall_clock().saturating_add(timeout).as_millis();
        let at = HeaderValue::from_str(&at.to_string()).expect("digits are a header value");
        headers.insert(WALL_DEADLINE, at);
    }
}

/// [`Mutant::DeadlineByWallClock`]: what is left by this machine's clock.
pub(crate) fn wall_timeout(headers: &HeaderMap) -> Option<Duration> {
    let at = headers.get(WALL_DEADLINE)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(at).saturating_sub(wall_clock()))
}

#[allow(clippy::disallowed_methods, reason = "reading the wall clock is the bug that is planted")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

thread_local! {
    static CONNECTING: Cell<u32> = const { Cell::new(0) };
}

/// [`Mutant::DeadlineNotOverConnecting`]: a call that waits for a connection.
pub(crate) struct Connecting(());

/// Notes that a call waits for a connection.
pub(crate) fn connecting() -> Option<Connecting> {
    is_planted(Mutant::DeadlineNotOverConnecting).then(|| {
        CONNECTING.set(CONNECTING.get() + 1);
        Connecting(())
    })
}

impl Drop for Connecting {
    fn drop(&mut self) {
        CONNECTING.set(CONNECTING.get() - 1);
    }
}

/// [`Mutant::DeadlineNotOverConnecting`]: whether a call may go on past its deadline.
pub(crate) fn is_exempt_while_connecting() -> bool {
    is_planted(Mutant::DeadlineNotOverConnecting) && CONNECTING.get() > 0
}
