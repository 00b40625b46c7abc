//! What a failed call tells: the one error on the wire, and what it becomes over HTTP.

use std::sync::Arc;

use http::StatusCode;
use tonic::{Code, Status};

/// The source of a status that proves that nobody has handled the call: whoever holds it may try again
/// elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There was no connection to send it over.
    #[error("the call was not sent")]
    Unreachable,
    /// It was sent, and the peer says that it did not read it: it was shutting down, or had enough.
    #[error("the call was refused unread")]
    Refused,
}

/// `UNAVAILABLE`, with the proof that nobody has handled the call.
#[must_use]
pub fn not_sent(why: NotSent, message: impl Into<String>) -> Status {
    let mut status = Status::unavailable(message);
    status.set_source(Arc::new(why));
    status
}

/// The proof that nobody has handled the call, if `status` is one.
#[must_use]
pub fn proof_not_sent(status: &Status) -> Option<NotSent> {
    std::error::Error::source(status)?.downcast_ref().copied()
}

pub(crate) fn message_too_large(limit: usize) -> Status {
    Status::resource_exhausted(format!("the message is larger than the limit of {limit} bytes"))
}

pub(crate) fn unknown_method(path: &str) -> Status {
    Status::unimplemented(format!("unknown method {path}"))
}

/// The name of a code, as `google.rpc.Code` spells it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The HTTP status of a code, as `google/rpc/code.proto` maps it.
#[must_use]
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).expect("499 is a status: client closed request"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_and_an_http_status_of_its_kind() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            assert!(!code_name(code).is_empty());
            let http = http_status(code);
            assert_eq!(code == Code::Ok, http.is_success(), "{code:?} is {http}");
            assert!(number == 0 || http.as_u16() >= 400, "{code:?} is {http}");
        }
    }

    #[test]
    fn only_a_status_that_says_so_was_not_sent() {
        let refused = not_sent(NotSent::Refused, "no connection");
        assert_eq!(proof_not_sent(&refused), Some(NotSent::Refused));
        assert_eq!(proof_not_sent(&Status::unavailable("no connection")), None);
    }
}
