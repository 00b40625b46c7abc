//! The calls that services made of each other, by the request that they belong to, and where they were handled.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Wants, What};

use super::requests::ByRequest;
use crate::facts::{CallMade, CallOutcome, HandlerBegun, Outcome};

/// All calls of services so far, and all handlers.
#[derive(Debug, Default)]
pub(super) struct Hops {
    requests: ByRequest<Request>,
}

/// What services did for one request.
#[derive(Debug, Default)]
struct Request {
    hops: Vec<Hop>,
    begun: Vec<Begun>,
}

/// One call of one service to another.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) made: CallMade,
    /// The caller's host.
    pub(super) host: Arc<str>,
    pub(super) at: Duration,
    pub(super) ended: Option<(Duration, Outcome)>,
}

/// A handler that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) service: &'static str,
    pub(super) path: &'static str,
    pub(super) host: Arc<str>,
    pub(super) at: Duration,
}

impl Hop {
    /// A call that is made now.
    pub(super) fn begun(event: &Event, made: &CallMade) -> Self {
        Self { made: *made, host: Arc::clone(&event.host), at: event.at, ended: None }
    }

    /// It ends now. What a host that is taken down says with its last breath is no outcome.
    pub(super) fn end(&mut self, event: &Event, told: &CallOutcome) {
        let outcome = if event.host.is_empty() { Outcome::Dropped } else { told.outcome };
        self.ended = Some((event.at, outcome));
    }

    /// From when to when it lasted, or lasts.
    pub(super) fn span(&self, now: Duration) -> (Duration, Duration) {
        (self.at, self.ended.map_or(now, |(at, _)| at))
    }
}

impl Hops {
    /// What it must be told of, besides the others.
    pub(super) fn wants(others: Wants) -> Wants {
        others.fact::<HandlerBegun>().fact::<CallMade>().fact::<CallOutcome>()
    }

    /// Takes note of `event`; the hop that it ends, if it does.
    pub(super) fn note(&mut self, event: &Event) -> Option<(u32, &Hop)> {
        let number = event.request.filter(|_| matches!(event.what, What::Told(_)))?;
        let (at, host) = (event.at, || Arc::clone(&event.host));
        if let Some(begun) = event.told::<HandlerBegun>() {
            let begun = Begun { service: begun.service, path: begun.path, host: host(), at };
            self.requests.get_or_default(number).begun.push(begun);
        } else if let Some(made) = event.told::<CallMade>() {
            self.requests.get_or_default(number).hops.push(Hop::begun(event, made));
        } else if let Some(outcome) = event.told::<CallOutcome>() {
            let hops = &mut self.requests.get_mut(number)?.hops;
            let hop = hops.iter_mut().find(|hop| hop.made.hop == outcome.hop)?;
            hop.end(event, outcome);
            return Some((number, hop));
        }
        None
    }

    /// The calls that services made for a request.
    pub(super) fn of(&self, request: u32) -> &[Hop] {
        self.requests.get(request).map_or(&[], |request| &request.hops)
    }

    /// The handlers that have begun for a request.
    pub(super) fn begun(&self, request: u32) -> &[Begun] {
        self.requests.get(request).map_or(&[], |request| &request.begun)
    }

    /// Whether a handler of `path` for a request has begun anywhere.
    pub(super) fn is_handled(&self, request: u32, path: &str) -> bool {
        self.begun(request).iter().any(|begun| begun.path == path)
    }

    /// The host that has handled `hop`; none if that could be several, as where two attempts of a call overlap.
    pub(super) fn handled_on(&self, request: u32, hop: &Hop) -> Option<&Arc<str>> {
        let until = hop.ended.map_or(Duration::MAX, |(at, _)| at);
        let is_of_it = |begun: &&Begun| begun.path == hop.made.path && (hop.at..=until).contains(&begun.at);
        let mut begun = self.begun(request).iter().filter(is_of_it).map(|begun| &begun.host);
        let host = begun.next()?;
        begun.all(|other| other == host).then_some(host)
    }
}

/// How much the calls that services made had left, by the request that they belong to.
#[derive(Debug, Default)]
pub(super) struct Lefts(ByRequest<Vec<(&'static str, Duration)>>);

impl Lefts {
    /// Takes note of `event`.
    pub(super) fn note(&mut self, event: &Event) {
        if let (Some(number), Some(made)) = (event.request, event.told::<CallMade>()) {
            let left = made.left.unwrap_or(Duration::MAX);
            self.0.get_or_default(number).push((made.path, left));
        }
    }

    /// The most that a call of `path` for a request had left; `None` if there was no such call.
    pub(super) fn longest(&self, request: u32, path: &str) -> Option<Duration> {
        let calls = self.0.get(request)?.iter().filter(|(called, _)| *called == path);
        calls.map(|(_, left)| *left).max()
    }
}
