//! Why nothing could be measured.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("speed does not count when a promise is broken: {0}")]
    Violated(String),
    #[error("there is no scenario {0:?}")]
    NoScenario(&'static str),
    #[error("madsim-tonic: {0}")]
    Peer(String),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("{0} does not read as it should")]
    Proc(&'static str),
}

impl Error {
    /// For `map_err`: an I/O error, and what was being done.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, source }
    }
}
