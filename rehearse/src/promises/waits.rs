//! Calls that wait at a node while another one with their idempotency key is handled there: they may be handled in its place.

use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Wants};

use super::twins::Twins;
use crate::facts::{HandlerBegun, HandlerEnded, NodeStarted, RequestAwaited, RequestCame};

/// The calls that wait for another one, and those that are handled.
#[derive(Debug, Default)]
pub(super) struct Waits {
    twins: Twins,
    waiting: Vec<Wait>,
    handled: Vec<Place>,
}

/// A call, and the host that it has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: Arc<str>,
    request: u32,
    path: &'static str,
}

/// A call that waits.
#[derive(Debug)]
struct Wait {
    place: Place,
    since: Duration,
    /// When the other one had ended. Whoever does not go on in the same moment waits no more.
    until: Option<Duration>,
}

impl Waits {
    /// What it must be told of, besides the others.
    pub(super) fn wants(others: Wants) -> Wants {
        let handled = others.fact::<HandlerBegun>().fact::<HandlerEnded>().fact::<NodeStarted>();
        handled.fact::<RequestAwaited>().fact::<RequestCame>()
    }

    /// A client makes a call.
    pub(super) fn note_call(&mut self, call: &CallRecord) {
        self.twins.note(call);
    }

    /// Takes note of `event`. Where a handler begins, since when its call has waited for another one, if it has.
    pub(super) fn note(&mut self, event: &Event) -> Option<Duration> {
        if event.told::<NodeStarted>().is_some() {
            self.waiting.retain(|wait| wait.place.host != event.host);
            self.handled.retain(|handled| handled.host != event.host);
        }
        let request = event.request?;
        let at = |path| Place { host: Arc::clone(&event.host), request, path };
        if let Some(begun) = event.told::<HandlerBegun>() {
            let place = at(begun.path);
            let waited = self.waiting.iter().position(|wait| wait.place == place);
            self.handled.push(place);
            return waited.map(|waited| self.waiting.swap_remove(waited).since);
        }
        if let Some(ended) = event.told::<HandlerEnded>() {
            let place = at(ended.path);
            let handled = self.handled.iter().position(|handled| *handled == place);
            handled.into_iter().for_each(|handled| drop(self.handled.swap_remove(handled)));
        } else if let Some(awaited) = event.told::<RequestAwaited>() {
            self.waits(at(awaited.path), event.at);
        } else if let Some(came) = event.told::<RequestCame>() {
            let place = at(came.path);
            let waits = self.waiting.iter_mut().find(|wait| wait.place == place);
            waits.into_iter().for_each(|wait| wait.until = Some(event.at));
        }
        None
    }

    /// A call waits: for the rest of its message, if not for another one.
    fn waits(&mut self, place: Place, now: Duration) {
        self.waiting.retain(|wait| wait.until.is_none_or(|until| until == now));
        if let Some(again) = self.waiting.iter_mut().find(|wait| wait.place == place) {
            again.until = None;
            return;
        }
        let is_twin = |handled: &Place| {
            let mut twins = self.twins.of(place.request);
            handled.host == place.host && twins.any(|twin| twin.request == handled.request)
        };
        if self.handled.iter().any(is_twin) {
            self.waiting.push(Wait { place, since: now, until: None });
        }
    }
}
