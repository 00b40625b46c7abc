//! Where a value comes from, if not from a flag.

use std::fmt;
use std::path::PathBuf;

/// A source besides flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Variable(String),
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File(file) => file.display().fmt(f),
        }
    }
}
