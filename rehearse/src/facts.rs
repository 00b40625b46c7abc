//! What a rehearsed node and the clients tell the checks, as values. A check never reads a sentence.

mod added;
mod connection;
mod foreign;

use std::fmt;
use std::time::Duration;

use sim::{CallFault, Fact};
use transport::gauges::Reading;
use transport::policy::Codes;
use transport::status::{self, NotSent};
use transport::{Code, Status};

pub use self::added::Added;
pub use self::connection::{Connection, ConnectionStep, NameAsked};
pub use self::foreign::{PushedBack, ServingTold, StreamSeen};
use crate::rpc::JsonMessage;

/// A node is about to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStarted {
    /// The services that it hosts.
    pub services: Vec<&'static str>,
}

/// A node has drained and leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStopped;

/// A call was taken on by a service, and its handler begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerBegun {
    /// The service.
    pub service: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// The worker that took it on.
    pub worker: u16,
    /// Whether it was admitted as a stream, by its request or its answer.
    pub is_streaming: bool,
    /// What is left of the call's deadline; `None` if it has none.
    pub left: Option<Duration>,
    /// Whether it came from a service on the same worker, over no network.
    pub is_local: bool,
    /// Whether its caller, or somebody further out, may repeat it, by what the handler knows.
    pub is_repeated: bool,
    /// What its caller has added to it, as the handler sees that; `None` where nobody looks.
    pub added: Option<Added>,
}

/// A call was taken on by a service, and its request has not come as a whole, or one of the same idempotency key is
/// handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestAwaited {
    /// The service.
    pub service: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// The worker that took the call on.
    pub worker: u16,
    /// Whether the call was admitted as a stream.
    pub is_streaming: bool,
}

/// What a service waited for with [`RequestAwaited`] has come, or its call has ended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCame {
    /// The service.
    pub service: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// The worker that took the call on.
    pub worker: u16,
    /// Whether the call was admitted as a stream.
    pub is_streaming: bool,
}

/// A handler is at work whose call has passed its deadline already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerBegunLate {
    /// The service.
    pub service: &'static str,
    /// The rpc.
    pub path: &'static str,
}

/// A handler is done, or was dropped, and its streamed answer has ended: it has given up its permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerEnded {
    /// The service.
    pub service: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// The worker that took the call on.
    pub worker: u16,
    /// Whether the call was admitted as a stream.
    pub is_streaming: bool,
}

/// A handler meets a fault of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerDisturbed {
    /// The service.
    pub service: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// What it meets.
    pub by: CallFault,
}

/// A service calls another, or itself: each attempt of a call is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallMade {
    /// The number of the call among all such calls of the rehearsal.
    pub hop: u32,
    /// The number of the first attempt of the same call.
    pub call: u32,
    /// Which attempt of its call it is, from 0.
    pub attempt: u32,
    /// The most attempts of its call.
    pub attempts_max: u32,
    /// Whether its contract says that calling twice is the same as calling once.
    pub is_idempotent: bool,
    /// Whether contract and configuration let it be repeated when nobody knows what became of it.
    pub may_be_repeated: bool,
    /// The wait before its second attempt, by its policy, and the longest of those before further ones: before they are
    /// spread by a fifth.
    pub waits: (Duration, Duration),
    /// What it may be repeated after, if it may.
    pub retry_codes: Codes,
    /// Whether the call from within which it is made is one that somebody further out may repeat.
    pub is_repeated: bool,
    /// Which of all clients of nodes makes it: each has connections of its own.
    pub client: u32,
    /// The service that makes it.
    pub caller: Option<&'static str>,
    /// The service that is called.
    pub callee: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// What is left of its deadline; `None` if it has none.
    pub left: Option<Duration>,
    /// What is left of the deadline of the call, or of the work that outlives one, from within which it is made;
    /// `None` if that has none.
    pub had: Option<Duration>,
    /// Whether the request or the answer is a stream.
    pub is_streaming: bool,
    /// What its caller adds to it.
    pub added: Added,
}

/// What became of a call that a service made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOutcome {
    /// The number that [`CallMade`] has.
    pub hop: u32,
    /// The service that was called.
    pub callee: &'static str,
    /// The rpc.
    pub path: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a call, as the caller's end of it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It worked.
    Ok,
    /// It is proven that nobody has handled it.
    NotSent,
    /// The connection was lost under it; nobody knows how far it came.
    Lost,
    /// Its deadline passed.
    Late,
    /// The caller does not wait any more: it has ended itself.
    Dropped,
    /// The callee said so.
    Said(Code),
}

/// What a node holds when nothing is asked any more, and again whenever that has changed; before that as often as
/// [`Scenario::gauges_every`](crate::Scenario::gauges_every) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaugesRead(pub Reading);

/// A client that watches a stream got a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMessage {
    /// The rpc.
    pub path: &'static str,
    /// The message.
    pub json: String,
}

impl StreamMessage {
    /// The message, if it is one of this type.
    #[must_use]
    pub fn message<T: JsonMessage>(&self) -> Option<T> {
        serde_json::from_str(&self.json).ok()
    }
}

impl Outcome {
    /// What `status` says, read from its code and its source.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        match (status::proof_not_sent(status), status.code()) {
            (Some(NotSent::Unreachable | NotSent::Refused | NotSent::HeldBack), _) => Self::NotSent,
            (None, Code::DeadlineExceeded) => Self::Late,
            (None, _) if status::was_lost(status) => Self::Lost,
            (None, code) => Self::Said(code),
        }
    }
}

impl Fact for NodeStarted {}
impl Fact for NodeStopped {}
impl Fact for HandlerBegun {}
impl Fact for RequestAwaited {}
impl Fact for RequestCame {}
impl Fact for HandlerBegunLate {}
impl Fact for HandlerEnded {}
impl Fact for HandlerDisturbed {}
impl Fact for CallMade {}
impl Fact for CallOutcome {}
impl Fact for GaugesRead {}
impl Fact for StreamMessage {}

impl fmt::Display for NodeStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("node started")?;
        self.services.iter().try_for_each(|service| write!(f, " {service}"))
    }
}

impl fmt::Display for NodeStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("node stopped")
    }
}

impl fmt::Display for HandlerBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handler begun {} worker={} left={}", self.path, self.worker, Left(self.left))?;
        f.write_str(if self.is_local { " local" } else { "" })
    }
}

impl fmt::Display for RequestAwaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request awaited {} worker={}", self.path, self.worker)
    }
}

impl fmt::Display for RequestCame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request came {} worker={}", self.path, self.worker)
    }
}

impl fmt::Display for HandlerBegunLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handler begun after its deadline {}", self.path)
    }
}

impl fmt::Display for HandlerEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handler ended {} worker={}", self.path, self.worker)
    }
}

impl fmt::Display for HandlerDisturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path;
        match self.by {
            CallFault::Slow(delay) => write!(f, "handler slowed {path} by={}ms", delay.as_millis()),
            CallFault::Panic => write!(f, "handler made to panic {path}"),
            CallFault::Full => write!(f, "call refused as the plan says {path}"),
        }
    }
}

impl fmt::Display for CallMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "call made {} hop={} client={} left={}",
            self.path,
            self.hop,
            self.client,
            Left(self.left)
        )?;
        match self.attempt {
            0 => Ok(()),
            attempt => write!(f, " attempt={attempt} of={}", self.call),
        }
    }
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call ended {} hop={} {}", self.path, self.hop, self.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::NotSent => "NOT SENT",
            Self::Lost => "LOST",
            Self::Late => "LATE",
            Self::Dropped => "DROPPED",
            Self::Said(code) => status::code_name(*code),
        })
    }
}

/// Only what there is some of.
impl fmt::Display for GaugesRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gauges read")?;
        let mut some = self.0.samples().filter(|(_, count)| *count > 0);
        some.try_for_each(|(sample, count)| write!(f, " {sample}={count}"))
    }
}

impl fmt::Display for StreamMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} {}", self.path, self.json)
    }
}

/// What is left of a deadline, in milliseconds.
struct Left(Option<Duration>);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(left) => write!(f, "{}ms", left.as_millis()),
            None => f.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_from_code_and_source_and_never_from_the_message() {
        let of = |status: Status| Outcome::of(&status);
        assert_eq!(of(status::not_sent(NotSent::Refused, "any words")), Outcome::NotSent);
        assert_eq!(of(Status::deadline_exceeded("the connection was lost")), Outcome::Late);
        assert_eq!(of(Status::unavailable("the connection was lost")), Outcome::Said(Code::Unavailable));
        assert_eq!(of(Status::not_found("")), Outcome::Said(Code::NotFound));
    }
}
