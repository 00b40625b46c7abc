//! The calls on which nobody began to work: who made them knows since when nobody answers.

use std::time::Duration;

/// When each client of a node made calls that nobody began to handle.
#[derive(Debug, Default)]
pub(super) struct Waits(Vec<Wait>);

#[derive(Debug)]
struct Wait {
    client: u32,
    callee: String,
    since: Duration,
}

impl Waits {
    /// Takes note of a call that lasted long enough for its connection to be pinged.
    pub(super) fn note(&mut self, client: Option<u32>, callee: &str, since: Duration) {
        self.0.extend(client.map(|client| Wait { client, callee: callee.to_owned(), since }));
    }

    /// When `client` first made such a call since then.
    pub(super) fn first(&self, client: u32, callee: &str, since: Duration) -> Option<Duration> {
        let calls = self.0.iter().filter(|wait| wait.client == client && wait.callee == callee);
        calls.map(|wait| wait.since).filter(|begun| *begun >= since).min()
    }
}
