//! The calls on which nobody began to work: who made them knows since when nobody answers.

use std::time::Duration;

/// When each client of a node made calls that nobody began to handle.
#[derive(Debug, Default)]
pub(super) struct Unheard(Vec<Call>);

#[derive(Debug)]
struct Call {
    client: u32,
    callee: String,
    since: Duration,
}

impl Unheard {
    /// Takes note of a call that lasted long enough for its connection to be pinged.
    pub(super) fn note(&mut self, client: Option<u32>, callee: &str, since: Duration) {
        self.0.extend(client.map(|client| Call { client, callee: callee.to_owned(), since }));
    }

    /// When `client` first made such a call since then.
    pub(super) fn first(&self, client: u32, callee: &str, since: Duration) -> Option<Duration> {
        let calls = self.0.iter().filter(|call| call.client == client && call.callee == callee);
        calls.map(|call| call.since).filter(|begun| *begun >= since).min()
    }
}
