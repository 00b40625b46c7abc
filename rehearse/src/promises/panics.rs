//! Handlers that were made to panic: an actor may die over that, and take the calls along that wait for it.

use std::sync::Arc;
use std::time::Duration;

use sim::{CallFault, Event, Wants};

use crate::facts::{HandlerDisturbed, HandlerEnded};

/// All handlers that were made to panic so far.
#[derive(Debug, Default)]
pub(super) struct Panics(Vec<Panic>);

/// A handler that was made to panic. It does when its actor comes to it, which may be busy until then.
#[derive(Debug)]
struct Panic {
    host: Arc<str>,
    service: &'static str,
    request: Option<u32>,
    from: Duration,
    /// When it had panicked; `None` before.
    until: Option<Duration>,
}

impl Panics {
    /// What it must be told of, besides the others.
    pub(super) fn wants(others: Wants) -> Wants {
        others.fact::<HandlerDisturbed>().fact::<HandlerEnded>()
    }

    /// Takes note of `event`.
    pub(super) fn note(&mut self, event: &Event) {
        if let Some(disturbed) = event.told::<HandlerDisturbed>().filter(|met| met.by == CallFault::Panic) {
            let (host, service, request) = (Arc::clone(&event.host), disturbed.service, event.request);
            self.0.push(Panic { host, service, request, from: event.at, until: None });
        } else if let Some(ended) = event.told::<HandlerEnded>() {
            let is_its = |panic: &&mut Panic| {
                panic.until.is_none() && panic.request == event.request && panic.service == ended.service
            };
            self.0.iter_mut().filter(is_its).for_each(|panic| panic.until = Some(event.at));
        }
    }

    /// Whether an actor of `service` may have died between the two, where `is_there` says, over another call than this: over
    /// which one it died is known, unless there are several of the same request.
    pub(super) fn have_killed(
        &self,
        service: &str,
        is_there: impl Fn(&str) -> bool,
        request: u32,
        (from, to): (Duration, Duration),
    ) -> bool {
        let is_own = |panic: &&Panic| panic.request == Some(request) && panic.service == service;
        let is_among_several = self.0.iter().filter(is_own).count() > 1;
        let others = self.0.iter().filter(|panic| is_among_several || !is_own(panic));
        let mut meanwhile =
            others.filter(|panic| panic.from <= to && panic.until.is_none_or(|until| until >= from));
        meanwhile.any(|panic| panic.service == service && is_there(&panic.host))
    }
}
