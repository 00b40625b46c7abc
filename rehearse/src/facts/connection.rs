//! What a node does to find others and to connect to them.

use std::fmt;
use std::io;

use sim::Fact;
use transport::Address;

/// What a node does to have a connection to another, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The number of the attempt among all of the rehearsal.
    pub attempt: u32,
    /// Where.
    pub address: Address,
    /// How far it has come.
    pub step: ConnectionStep,
}

/// A node asks a name where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAsked(pub String);

/// How far a connection has come that a node makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStep {
    /// The node begins to connect.
    Begun,
    /// It cannot connect, and why.
    Failed(io::ErrorKind),
    /// It does not wait any longer for an outcome.
    GivenUp,
    /// The other side has accepted.
    Connected,
    /// The other side has begun to speak HTTP/2, by its SETTINGS.
    Spoken,
    /// The node has let go of a connection.
    Closed {
        /// Whether the other side, or the network, had ended it before, or it spoke something else than HTTP/2.
        by_other: bool,
    },
}

impl Fact for Connection {}
impl Fact for NameAsked {}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} to {} {}", self.attempt, self.address, self.step)
    }
}

impl fmt::Display for NameAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asks the name {}", self.0)
    }
}

impl fmt::Display for ConnectionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("begun"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::GivenUp => f.write_str("given up"),
            Self::Connected => f.write_str("connected"),
            Self::Spoken => f.write_str("spoken"),
            Self::Closed { by_other: true } => f.write_str("closed by the other side"),
            Self::Closed { by_other: false } => f.write_str("closed"),
        }
    }
}
