//! A name that leads to the endpoints of a service, and when it is asked for them.
//!
//! It is asked when a call comes and it is time: nothing runs while nobody calls.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::chance::spread;

/// How often a name is asked while calls come, give or take a fifth.
const EVERY: Duration = Duration::from_secs(10);

/// The least time between two questions, however much is down.
const LEAST: Duration = Duration::from_secs(1);

/// The most addresses that are taken of an answer.
const ADDRESSES_MAX: usize = 128;

/// The end of a question that is under way, for calls that have no address to go to.
pub(super) type Asking = Shared<BoxFuture<'static, ()>>;

pub(super) struct Name {
    service: &'static str,
    pub(super) name: String,
    pub(super) port: u16,
    /// Held for moments only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What it led to when that was last known, in order.
    found: Vec<SocketAddr>,
    /// When it was asked last, and when it is to be asked again; none if it never was.
    asked: Option<(Instant, Instant)>,
    asking: Option<Asking>,
}

impl Name {
    pub(super) fn new(service: &'static str, name: &str, port: u16) -> Arc<Self> {
        Arc::new(Self { service, name: name.to_owned(), port, state: Mutex::default() })
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let state = self.state();
        state.asking.is_none() && state.asked.is_none_or(|(_, next)| next <= now)
    }

    /// It is asked now.
    pub(super) fn begin(&self, now: Instant, asking: Asking) {
        let mut state = self.state();
        state.asked = Some((now, now + EVERY));
        state.asking = Some(asking);
    }

    /// What it is asked now, if it is.
    pub(super) fn asking(&self) -> Option<Asking> {
        self.state().asking.clone()
    }

    /// When it is asked again at the earliest; none while it is asked.
    pub(super) fn is_asked_again(&self) -> Option<Instant> {
        let state = self.state();
        state.asked.filter(|_| state.asking.is_none()).map(|(_, next)| next)
    }

    /// An address could not be reached: it is asked sooner, which may lead elsewhere.
    pub(super) fn hurry(&self) {
        if let Some((last, next)) = &mut self.state().asked {
            *next = (*last + LEAST).min(*next);
        }
    }

    /// The addresses that it led to when that was last known.
    pub(super) fn found(&self) -> Vec<SocketAddr> {
        self.state().found.clone()
    }

    /// Takes the answer. An empty one, or none, changes nothing: it is more often wrong than right that there is nobody.
    pub(super) fn answered(&self, answer: std::io::Result<Vec<SocketAddr>>) {
        let (peer, name) = (self.service, &self.name);
        let mut state = self.state();
        state.asking = None;
        match answer {
            Ok(mut found) if !found.is_empty() => {
                found.sort_unstable();
                found.dedup();
                if found.len() > ADDRESSES_MAX {
                    warn!(
                        peer,
                        name,
                        addresses = found.len(),
                        "only the first {ADDRESSES_MAX} addresses are used"
                    );
                    found.truncate(ADDRESSES_MAX);
                }
                if found != state.found {
                    info!(
                        peer,
                        name,
                        addresses = found.len(),
                        before = state.found.len(),
                        "addresses changed"
                    );
                }
                state.found = found;
            }
            Ok(_) => warn!(peer, name, kept = state.found.len(), "a name leads nowhere"),
            Err(error) => warn!(peer, name, %error, kept = state.found.len(), "a name cannot be resolved"),
        }
        let wait = if state.found.is_empty() { LEAST } else { spread(EVERY) };
        if let Some((last, next)) = &mut state.asked {
            *next = *last + wait;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
