//! Why contracts could not be compiled.

use std::io;

/// Why contracts could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A `.proto` file is wrong; the text names file, line and column.
    #[error("{0}")]
    Proto(#[from] protox::Error),
    /// A `google.api.http` option asks for something that the REST edge does not do.
    #[error("{method}: google.api.http: {reason}")]
    Route {
        /// Full name of the rpc.
        method: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// Two rpcs claim the same route.
    #[error("{verb} {path} is claimed by {first} and by {second}")]
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
    /// Cargo tells build scripts where to write.
    #[error("OUT_DIR is not set: expected to run in a build script")]
    NoOutDir,
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
