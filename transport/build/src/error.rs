//! Why contracts could not be compiled.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why contracts could not be compiled, in one sentence that names what is wrong.
///
/// A build script that returns it shows it to its user by `Debug`, so that this is the sentence, too.
#[derive(thiserror::Error)]
pub enum Error {
    /// A `.proto` file is wrong; the text names file, line and column.
    #[error("{0:?}")]
    Proto(#[from] protox::Error),
    /// Something in a contract cannot become Rust.
    #[error("{place}: {reason}")]
    Contract {
        /// The file, or the full name of the service, rpc or field.
        place: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A `google.api.http` option asks for something that the REST edge does not do.
    #[error("{method}: google.api.http: {reason}")]
    Route {
        /// Full name of the rpc.
        method: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// Two rpcs claim the same route.
    #[error("{verb} {path} is claimed by {first} and by {second}: expected a route of its own for each")]
    Claimed {
        /// HTTP method.
        verb: String,
        /// Path template.
        path: String,
        /// Full name of one rpc.
        first: String,
        /// Full name of the other.
        second: String,
    },
    /// There is nothing to compile.
    #[error("{}: expected .proto files in this folder or below, found none", .0.display())]
    NoContracts(PathBuf),
    /// Cargo tells build scripts where to write.
    #[error("OUT_DIR is not set: expected to run in a build script")]
    NoOutDir,
    /// A file or folder could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn contract(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Contract { place: place.into(), reason: reason.into() }
    }

    /// For `map_err`, of what was done to `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
