//! What became of one call, as its caller saw it.

use std::time::Duration;

use crate::plan::Request;

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `OK`, or the name of the error: a gRPC code, an HTTP status, whatever the scenario's checks speak of.
    pub status: String,
    /// The value, or the error's message.
    pub value: String,
    /// The request id that came back, if one did.
    pub request_id: Option<String>,
    /// Whether it is right for this sort of call: a probe with it has worked.
    pub is_right: bool,
}

impl Reply {
    /// A call that worked.
    #[must_use]
    pub fn ok(value: impl Into<String>) -> Self {
        Self { status: "OK".to_owned(), value: value.into(), request_id: None, is_right: true }
    }

    /// A call that did not.
    #[must_use]
    pub fn failed(status: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status: status.into(), value: message.into(), request_id: None, is_right: false }
    }

    /// Adds the request id that came back.
    #[must_use]
    pub fn with_request_id(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }

    /// Says that this is a right answer to the call, although it is none that worked: something is sold out.
    #[must_use]
    pub fn right(self) -> Self {
        Self { is_right: true, ..self }
    }

    /// Whether the call worked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "OK"
    }
}

/// One call from its start to its end.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// What was asked.
    pub request: Request,
    /// The id that must come back.
    pub request_id: String,
    /// When the client made the call.
    pub started: Duration,
    /// When the client had its reply; `None` while it waits.
    pub ended: Option<Duration>,
    /// What it got.
    pub reply: Option<Reply>,
    /// Whether the call was made after all faults had healed, to see that things work again.
    pub is_probe: bool,
    /// The names of the faults that were in force at some time during the call.
    pub faults: Vec<&'static str>,
}

impl CallRecord {
    /// A call that begins while these faults are in force.
    pub(crate) fn started(
        request: Request,
        started: Duration,
        is_probe: bool,
        faults: Vec<&'static str>,
    ) -> Self {
        let request_id = request.request_id();
        Self { request, request_id, started, ended: None, reply: None, is_probe, faults }
    }

    /// When the caller must have its reply.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.started + self.request.deadline
    }
}
