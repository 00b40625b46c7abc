//! What a host that is no node has to say to calls.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// How many calls it takes on at once.
    pub(super) room: usize,
    /// How many it has.
    taken: AtomicUsize,
}

/// The place of a call among those that a server takes on at once.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serves {
    /// One that answers nothing yet.
    pub(super) fn of(service: &'static str) -> Self {
        Self {
            service,
            rpcs: Vec::new(),
            takes: Duration::ZERO,
            illness: None,
            room: usize::MAX,
            taken: AtomicUsize::new(0),
        }
    }

    /// A place for a call, if there is one.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.taken);
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.room).then_some(place)
    }

    /// The rpc at `path`.
    pub(super) fn rpc(&self, path: &str) -> Option<(&'static str, &Answer)> {
        let found = self.rpcs.iter().find(|(known, _)| *known == path)?;
        Some((found.0, &found.1))
    }
}

/// What a foreign server says in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) details: String,
    pub(super) pushback: Option<&'static str>,
    pub(super) way: Way,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By trailers, with no message before.
    Alone,
    /// By trailers, after a message that is an answer.
    AfterAnswer,
    /// By RST_STREAM with this error code.
    Reset(u32),
}

impl Failed {
    /// This status and its message, in trailers with no message before.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (message, details) = (message.into(), String::new());
        Self { code, message, details, pushback: None, way: Way::Alone }
    }

    /// With these details: base64 without padding, as `grpc-status-details-bin` has them.
    #[must_use]
    pub fn details(self, details: &str) -> Self {
        Self { details: details.to_owned(), ..self }
    }

    /// With a word on being called again, as `grpc-retry-pushback-ms` has it.
    #[must_use]
    pub fn pushback(self, pushback: &'static str) -> Self {
        Self { pushback: Some(pushback), ..self }
    }

    /// After a message that is an answer as if it worked: the status counts.
    #[must_use]
    pub fn after_answer(self) -> Self {
        Self { way: Way::AfterAnswer, ..self }
    }

    /// Nothing but RST_STREAM with this error code of HTTP/2 (RFC 9113, section 7), which gRPC takes for `code`.
    #[must_use]
    pub fn by_reset(code: Code, reason: u32) -> Self {
        Self { way: Way::Reset(reason), ..Self::new(code, "") }
    }

    /// The status that its caller is to see.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is said with it; nothing by a reset.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
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
