//! What a host says that is no node.

use std::fmt;
use std::time::Duration;

use sim::Fact;

/// A host that is no node, but a server of the scenario's own, has seen a stream that a call opened, and says what it
/// does with it. It is told on that host, with the request id of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSeen {
    /// The rpc.
    pub path: String,
    /// Whether the stream is refused unread (`REFUSED_STREAM`).
    pub refused: bool,
    /// How many attempts there were before this one, as the call says (`grpc-previous-rpc-attempts`).
    pub previous: u32,
}

/// A host that is no node has refused a call, and says when it may be called again. It is told on that host, with the
/// request id of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushedBack {
    /// The rpc.
    pub path: &'static str,
    /// After this time; `None` if never.
    pub wait: Option<Duration>,
}

/// A host that is no node says whether it serves, to one who asks. It is told on that host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServingTold {
    /// Whether it does.
    pub serves: bool,
}

impl Fact for StreamSeen {}
impl Fact for PushedBack {}
impl Fact for ServingTold {}

impl fmt::Display for StreamSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream seen {}", self.path)?;
        if self.previous > 0 {
            write!(f, " previous={}", self.previous)?;
        }
        f.write_str(if self.refused { " refused" } else { "" })
    }
}

impl fmt::Display for PushedBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait {
            Some(wait) => write!(f, "pushed back {} for={}ms", self.path, wait.as_millis()),
            None => write!(f, "pushed back {} for ever", self.path),
        }
    }
}

impl fmt::Display for ServingTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.serves { "says that it serves" } else { "says that it does not serve" })
    }
}
