//! What a host that is no node has to say to calls.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use transport::Code;

/// The service of a server, and how it answers.
pub(super) struct Serves {
    pub(super) service: &'static str,
    /// By path.
    pub(super) rpcs: Vec<(&'static str, Answer)>,
    /// How long it takes for each call.
    pub(super) takes: Duration,
    pub(super) illness: Option<Illness>,
}

impl Serves {
    /// One that answers nothing yet.
    pub(super) fn of(service: &'static str) -> Self {
        Self { service, rpcs: Vec::new(), takes: Duration::ZERO, illness: None }
    }

    /// The rpc at `path`.
    pub(super) fn rpc(&self, path: &str) -> Option<(&'static str, &Answer)> {
        let found = self.rpcs.iter().find(|(known, _)| *known == path)?;
        Some((found.0, &found.1))
    }
}

/// What a foreign server says in place of an answer: trailers and no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The status.
    pub code: Code,
    /// Its message.
    pub message: String,
    /// Its details, in base64 without padding, as `grpc-status-details-bin` has them; empty if there are none.
    pub details: String,
    /// What is said of being called again, as `grpc-retry-pushback-ms` has it, if anything is.
    pub pushback: Option<&'static str>,
}

/// Answers a request, as both are encoded.
pub(super) type Answer = Box<dyn Fn(&[u8]) -> Result<Bytes, Failed> + Send + Sync>;

/// When a server is ill, counted from its start.
#[derive(Debug, Clone)]
pub(super) struct Illness {
    /// It says so to each call at once, and then nothing to any.
    pub(super) fails: Range<Duration>,
    pub(super) said: Failed,
    pub(super) well_again: Duration,
}
