//! The codes of gRPC, their names and their HTTP statuses, as `google/rpc/code.proto` has them.
//!
//! A node has such a table, too; this one is written anew, so that a mistake in that one is found.

use transport::Code;

const CODES: [(Code, &str, u16); 17] = [
    (Code::Ok, "OK", 200),
    (Code::Cancelled, "CANCELLED", 499),
    (Code::Unknown, "UNKNOWN", 500),
    (Code::InvalidArgument, "INVALID_ARGUMENT", 400),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504),
    (Code::NotFound, "NOT_FOUND", 404),
    (Code::AlreadyExists, "ALREADY_EXISTS", 409),
    (Code::PermissionDenied, "PERMISSION_DENIED", 403),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", 429),
    (Code::FailedPrecondition, "FAILED_PRECONDITION", 400),
    (Code::Aborted, "ABORTED", 409),
    (Code::OutOfRange, "OUT_OF_RANGE", 400),
    (Code::Unimplemented, "UNIMPLEMENTED", 501),
    (Code::Internal, "INTERNAL", 500),
    (Code::Unavailable, "UNAVAILABLE", 503),
    (Code::DataLoss, "DATA_LOSS", 500),
    (Code::Unauthenticated, "UNAUTHENTICATED", 401),
];

/// The code of this name.
pub(crate) fn code_named(name: &str) -> Option<Code> {
    CODES.iter().find(|(_, known, _)| *known == name).map(|(code, ..)| *code)
}

/// The name of a code.
pub(crate) fn name_of(code: Code) -> &'static str {
    CODES.iter().find(|(known, ..)| *known == code).map_or("UNKNOWN", |(_, name, _)| name)
}

/// The HTTP status of a code.
pub(crate) fn http_status_of(code: Code) -> u16 {
    CODES.iter().find(|(known, ..)| *known == code).map_or(500, |(.., http)| *http)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once_and_in_its_place() {
        for (number, (code, name, _)) in (0..).zip(CODES) {
            assert_eq!((code as i32, Code::from_i32(number)), (number, code));
            assert_eq!((code_named(name), name_of(code)), (Some(code), name));
        }
        assert_eq!((code_named("OOPS"), http_status_of(Code::DeadlineExceeded)), (None, 504));
    }
}
