//! What a failed call tells: the one error on the wire, and what it becomes over HTTP.

use std::sync::Arc;

use http::StatusCode;
pub use tonic::{Code, Status};

use crate::cut::told;

/// What a call ends with: there is one error on the wire, and it is gRPC's.
pub type Result<T, E = Status> = std::result::Result<T, E>;

/// The source of a status that proves that nobody has handled the call: whoever holds it may try again
/// elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There was no connection to send it over.
    #[error("the call was not sent")]
    Unreachable,
    /// It was sent, and the callee says that it did not read it: it was shutting down, or had enough.
    #[error("the call was refused unread")]
    Refused,
    /// Its caller held it back: calls like it have failed of late.
    #[error("the call was held back")]
    HeldBack,
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

/// The same status as the answer of a handler: it proves nothing any more, and it is not this call's connection that was
/// lost.
pub(crate) fn without_proof(mut status: Status) -> Status {
    if proof_not_sent(&status).is_none() && !was_lost(&status) {
        return status;
    }
    let metadata = std::mem::take(status.metadata_mut());
    let details = bytes::Bytes::copy_from_slice(status.details());
    Status::with_details_and_metadata(status.code(), status.message(), details, metadata)
}

/// The source of an `UNAVAILABLE` that is in a callee's own words.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0} says so")]
struct Said(&'static str);

/// The same `UNAVAILABLE`, marked as what `service` has said. Services behind it may be any, and its words name
/// their addresses.
pub(crate) fn in_words_of(service: &'static str, mut status: Status) -> Status {
    status.set_source(Arc::new(Said(service)));
    status
}

/// The service whose own words the message is, if it is marked.
pub(crate) fn speaker(status: &Status) -> Option<&'static str> {
    let said: &Said = std::error::Error::source(status)?.downcast_ref()?;
    Some(said.0)
}

/// The most that the message and the details of a status may have, in bytes: they travel as headers.
const TEXT_MAX: usize = 4 * 1024;

/// The status as every carrier can carry it: what is too long is cut, details are left out.
pub(crate) fn within_limits(mut status: Status) -> Status {
    if status.message().len() + status.details().len() <= TEXT_MAX {
        return status;
    }
    let metadata = std::mem::take(status.metadata_mut());
    let end = status.message().floor_char_boundary(TEXT_MAX / 2);
    let message = status.message()[..end].to_owned();
    Status::with_metadata(status.code(), message, metadata)
}

/// The source of an `UNAVAILABLE` whose connection was lost under it: nobody knows how far the call came.
#[derive(Debug, thiserror::Error)]
#[error("the connection was lost")]
struct Lost(#[source] Arc<dyn std::error::Error + Send + Sync>);

/// `UNAVAILABLE`: the connection broke under the call.
pub(crate) fn lost(cause: Arc<dyn std::error::Error + Send + Sync>) -> Status {
    let mut status = Status::unavailable("the connection was lost");
    status.set_source(Arc::new(Lost(cause)));
    status
}

/// Whether the connection broke under the call, so that nobody knows how far it came.
#[must_use]
pub fn was_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some_and(|source| source.is::<Lost>())
}

/// There is no room on this worker for what a call needs, whatever its callee has.
#[derive(Debug, thiserror::Error)]
#[error("there is no room here")]
struct NoRoomHere;

/// `RESOURCE_EXHAUSTED` for want of room on this worker.
pub(crate) fn no_room_here(message: &str) -> Status {
    let mut status = Status::resource_exhausted(message);
    status.set_source(Arc::new(NoRoomHere));
    status
}

/// Whether it is this worker that had no room, and not a callee.
pub(crate) fn is_no_room_here(status: &Status) -> bool {
    std::error::Error::source(status).is_some_and(|source| source.is::<NoRoomHere>())
}

/// What the caller of a handler that panicked is told: nothing of the inside.
pub(crate) fn panicked() -> Status {
    Status::internal("the handler panicked")
}

pub(crate) fn message_too_large(limit: usize) -> Status {
    Status::resource_exhausted(format!("the message is larger than the limit of {limit} bytes"))
}

pub(crate) fn unknown_method(path: &str) -> Status {
    Status::unimplemented(format!("unknown method {}", told(path)))
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
    use proptest::prelude::*;

    use super::*;

    /// `google/rpc/code.proto`, in the order of the numbers.
    const CODES: [(&str, u16); 17] = [
        ("OK", 200),
        ("CANCELLED", 499),
        ("UNKNOWN", 500),
        ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409),
        ("OUT_OF_RANGE", 400),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DATA_LOSS", 500),
        ("UNAUTHENTICATED", 401),
    ];

    #[test]
    fn every_code_has_the_name_and_the_http_status_that_google_gives_it() {
        for (number, expected) in (0..).zip(CODES) {
            let code = Code::from_i32(number);
            assert_eq!((code_name(code), http_status(code).as_u16()), expected);
        }
    }

    proptest! {
        #[test]
        fn a_code_that_nobody_knows_is_unknown_and_an_error(number in any::<i32>()) {
            prop_assume!(!(0..17).contains(&number));
            let code = Code::from_i32(number);
            prop_assert_eq!((code_name(code), http_status(code).as_u16()), ("UNKNOWN", 500));
        }
    }

    #[test]
    fn only_a_status_that_says_so_was_not_sent() {
        let refused = not_sent(NotSent::Refused, "no connection");
        assert_eq!(proof_not_sent(&refused), Some(NotSent::Refused));
        assert_eq!(proof_not_sent(&Status::unavailable("no connection")), None);
    }

    #[test]
    fn what_a_handler_answers_proves_nothing_of_the_call_to_it_and_keeps_all_else() {
        let broken = lost(Arc::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert!(was_lost(&broken), "which the call inside of the handler was");
        for mut inner in [not_sent(NotSent::Unreachable, "nobody"), broken, Status::aborted("no")] {
            inner.metadata_mut().insert("x-reason", "told so".parse().expect("a value"));
            let answered = without_proof(inner.clone());
            assert!(proof_not_sent(&answered).is_none() && !was_lost(&answered));
            assert_eq!((answered.code(), answered.message()), (inner.code(), inner.message()));
            assert_eq!(answered.metadata().get("x-reason"), inner.metadata().get("x-reason"));
        }
    }

    /// A status with a message and details of so many bytes, as it travels.
    fn carried(message: usize, details: usize) -> Status {
        let details = vec![1; details].into();
        within_limits(Status::with_details(Code::Aborted, "\u{e9}".repeat(message / 2), details))
    }

    #[test]
    fn a_status_whose_texts_are_too_long_together_is_cut_and_loses_its_details() {
        const MOST: usize = 4096;
        for (message, details) in [(MOST, 0), (MOST / 2, MOST / 2), (0, MOST)] {
            let whole = carried(message, details);
            assert_eq!((whole.message().len(), whole.details().len()), (message, details));
            let cut = carried(message, details + 1);
            assert_eq!(cut.code(), Code::Aborted);
            assert_eq!((cut.message().len(), cut.details().len()), (message.min(MOST / 2), 0));
        }
    }
}
