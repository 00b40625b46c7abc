//! Calls that clients make again: those of one idempotency key have one handler, and what it came to is the answer to all.

use std::time::Duration;

use sim::{CallRecord, Request};

/// The calls with idempotency keys so far.
#[derive(Debug, Default)]
pub(super) struct Twins(Vec<Twin>);

/// A call with a key.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) request: u32,
    pub(super) started: Duration,
    pub(super) deadline: Duration,
    key: String,
}

/// Whether a client sends an idempotency key along.
pub(super) fn has_key(request: &Request) -> bool {
    key(request).is_some()
}

/// The key, without the quotes that it may be sent in.
fn key(request: &Request) -> Option<&str> {
    let (_, value) = request.metadata.iter().find(|(name, _)| name == "idempotency-key")?;
    Some(value.trim_matches('"'))
}

impl Twins {
    /// A client makes a call.
    pub(super) fn note(&mut self, call: &CallRecord) {
        let Request { id, deadline, .. } = call.request;
        let twin = |key: &str| Twin { request: id, started: call.started, deadline, key: key.to_owned() };
        self.0.extend(key(&call.request).map(twin));
    }

    /// The other calls of the same key.
    pub(super) fn of(&self, request: u32) -> impl Iterator<Item = &Twin> {
        let key = self.0.iter().find(|twin| twin.request == request).map(|twin| &twin.key);
        self.0.iter().filter(move |twin| Some(&twin.key) == key && twin.request != request)
    }
}
