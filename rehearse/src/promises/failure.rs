//! What can become of a call besides `OK`.

use std::fmt;

use sim::Reply;
use transport::Code;
use transport::status;

use crate::clients::{BROKEN, GAVE_UP, HUNG_UP, NOT_SENT, code_named};
use crate::facts::Outcome;

/// How a call failed, by its caller's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The deadline passed, at the edge or for the caller itself, whichever is first.
    Late,
    /// The client's own connection broke under the call.
    Broken,
    /// The node closed the client's connection unasked. HTTP/1.1 cannot say that a request was not read, so this
    /// is also what one gets that crosses a drain.
    HungUp,
    /// A node lost its connection to the next, and nobody knows how far the call came.
    Lost,
    /// There was no connection, or the callee did not read the call.
    NotSent,
    /// The callee said this.
    Said(Code),
    /// Nothing that may ever be.
    Wrong,
}

impl Failure {
    /// How a call between services failed, if it did and its caller waited for it.
    pub(super) fn of_hop(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Ok | Outcome::Dropped => None,
            Outcome::Late => Some(Self::Late),
            Outcome::Lost => Some(Self::Lost),
            Outcome::NotSent => Some(Self::NotSent),
            Outcome::Said(code) => Some(Self::Said(code)),
        }
    }

    /// How a client's call failed, if it did.
    pub(super) fn of_reply(reply: &Reply) -> Option<Self> {
        match reply.status.as_str() {
            "OK" => None,
            GAVE_UP => Some(Self::Late),
            BROKEN => Some(Self::Broken),
            HUNG_UP => Some(Self::HungUp),
            NOT_SENT => Some(Self::NotSent),
            name => Some(match code_named(name) {
                Some(Code::DeadlineExceeded) => Self::Late,
                Some(code) => Self::Said(code),
                None => Self::Wrong,
            }),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("ran into its deadline"),
            Self::Broken => f.write_str("found its client's connection broken"),
            Self::HungUp => f.write_str("found its client's connection closed by the node"),
            Self::Lost => f.write_str("was lost with the connection between two nodes"),
            Self::NotSent => f.write_str("was not sent"),
            Self::Said(code) => write!(f, "was answered {}", status::code_name(*code)),
            Self::Wrong => f.write_str("came to what no call may come to"),
        }
    }
}

/// A reply in a line.
pub(super) fn in_words(reply: &Reply) -> String {
    format!("{} ({:?})", reply.status, reply.value)
}

/// Whether only a service says this of its own work, and nothing below it does.
pub(super) fn is_of_users(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss
            | Code::Unauthenticated
    )
}
