//! Why nothing could be measured.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("wrk is not installed, which drives the load: apt-get install wrk")]
    NoWrk,
    #[error("wrk: {0}")]
    Load(String),
    #[error("{title} gave no right answer: {reason}; see its log, {log}")]
    NoAnswer { title: String, reason: String, log: String },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("peer: {0}")]
    Peer(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// For `map_err`: an I/O error, and what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
