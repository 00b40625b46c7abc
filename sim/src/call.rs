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
    /// What came along with the answer or the error: names of headers, and their values, as they were on the wire.
    pub metadata: Vec<(String, String)>,
    /// The details of an error, in the scenario's own form; empty if there are none.
    pub details: String,
    /// Whether it is right for this sort of call: a probe with it has worked.
    pub is_right: bool,
}

impl Reply {
    /// A call that worked.
    #[must_use]
    pub fn ok(value: impl Into<String>) -> Self {
        Self::new("OK".to_owned(), value.into())
    }

    /// A call that did not.
    #[must_use]
    pub fn failed(status: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(status.into(), message.into())
    }

    fn new(status: String, value: String) -> Self {
        let is_right = status == "OK";
        Self { status, value, request_id: None, metadata: Vec::new(), details: String::new(), is_right }
    }

    /// Adds the request id that came back.
    #[must_use]
    pub fn with_request_id(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }

    /// Adds what came along with it.
    #[must_use]
    pub fn with_metadata(self, metadata: Vec<(String, String)>) -> Self {
        Self { metadata, ..self }
    }

    /// Adds the details of the error that it is.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
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

    /// The error's message; `None` if the call worked.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        (!self.is_ok()).then_some(self.value.as_str())
    }
}

/// One call from its start to its end.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// What was asked.
    pub request: Request,
    /// What plans and checks call the request ([`Request::request_id`]): the id that must come back, unless another
    /// one was sent ([`Request::id_sent`]).
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
