//! Why there is no configuration to run with.

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version` was asked for; the text is the answer.
    #[error("{0}")]
    Help(String),
    /// A key or a value is wrong; the text names it and says what was expected.
    #[error("{0}")]
    Wrong(String),
}
