//! Why a node did not start, or did not go on.

use std::io;

/// Why a node did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened at.
    #[error("--{key} {address}: {source}; expected an address that is free and this machine's own")]
    Bind {
        /// The key that names the address.
        key: &'static str,
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The store of idempotency keys cannot be used.
    #[error("--idempotency-store {path}: {source}; expected a file of this node's own that can be written")]
    Store {
        /// Where it is.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The system below failed.
    #[error("the server failed: {0}")]
    Server(#[from] io::Error),
}
