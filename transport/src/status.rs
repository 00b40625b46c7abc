//! What a failed call tells: the one error on the wire, and what it becomes over HTTP.

use std::sync::Arc;

use http::StatusCode;
use tonic::{Code, Status};

/// The source of a status that proves that the call never left: whoever holds it may try again elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was not sent")]
pub struct NotSent;

/// `UNAVAILABLE`, with the proof that nobody has seen the call.
#[must_use]
pub fn not_sent(message: impl Into<String>) -> Status {
    let mut status = Status::unavailable(message);
    status.set_source(Arc::new(NotSent));
    status
}

/// Whether `status` proves that nobody has seen the call.
#[must_use]
pub fn is_not_sent(status: &Status) -> bool {
    std::error::Error::source(status).is_some_and(<dyn std::error::Error>::is::<NotSent>)
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
        assert!(is_not_sent(&not_sent("no connection")));
        assert!(!is_not_sent(&Status::unavailable("no connection")));
    }
}
