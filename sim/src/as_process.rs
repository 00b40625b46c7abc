//! A host as a process: how it is started, and what it says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;

use crate::host::HostContext;
use crate::plan::Plan;
use crate::tempo::Tempo;
use crate::trace::event::{Fact, Line};

/// Says what a program is started with, by where the others are.
pub(crate) type Arguments = Box<dyn Fn(&Places<'_>) -> Vec<String> + Send + Sync>;

/// Asks a process what it holds, from the host of the clients.
pub(crate) type Observes =
    Box<dyn Fn(HostContext) -> LocalBoxFuture<'static, Result<Arc<dyn Fact>, String>> + Send + Sync>;

/// A host as a process of its own.
pub struct AsProcess {
    /// The ports by which others know it.
    pub ports: Vec<u16>,
    /// What its program is started with.
    pub arguments: Arguments,
    /// What a line of its output says; `None` if it is none that it should write.
    pub reads: fn(&str) -> Option<Said>,
    /// Looks what it holds, when nothing is asked any more.
    pub observes: Observes,
}

/// What a process said.
#[derive(Debug)]
pub struct Said {
    /// When.
    pub at: SystemTime,
    /// The request that it is about, if it is about one.
    pub request_id: Option<String>,
    /// Its words and its values.
    pub line: Line,
    /// What a simulated host would have told then.
    pub fact: Option<Arc<dyn Fact>>,
    /// Where it listens from now on, by the ports under which others know it, if it says that; it may be nowhere.
    pub listens: Option<Vec<(u16, SocketAddr)>>,
}

/// Where a process finds the others, and what the plan chose.
#[derive(Debug)]
pub struct Places<'a> {
    pub(crate) caller: &'a str,
    pub(crate) addresses: &'a BTreeMap<(String, String, u16), SocketAddr>,
    pub(crate) plan: &'a Plan,
    pub(crate) tempo: Tempo,
}

impl Places<'_> {
    /// Where it finds `port` of `host`.
    ///
    /// # Panics
    /// When there is no such host, or others do not know it by this port.
    #[must_use]
    pub fn address(&self, host: &str, port: u16) -> SocketAddr {
        let place = (self.caller.to_owned(), host.to_owned(), port);
        self.addresses.get(&place).copied().unwrap_or_else(|| panic!("{host} has no port {port}"))
    }

    /// What the plan chose for an option of the scenario.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.plan.options.get(name).map(String::as_str)
    }

    /// How fast the plan is played.
    #[must_use]
    pub fn tempo(&self) -> Tempo {
        self.tempo
    }
}

/// A process has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessEnded {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

impl Fact for ProcessEnded {}

impl fmt::Display for ProcessEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "process ended with {code}"),
            None => f.write_str("process ended by a signal"),
        }
    }
}

impl fmt::Debug for AsProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsProcess").field("ports", &self.ports).finish_non_exhaustive()
    }
}
