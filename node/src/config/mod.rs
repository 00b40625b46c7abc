//! The configuration of a node: plain data, complete and checked before anything is bound.
//!
//! One parser serves all sources. Flags override the environment (`NODE_*`), which overrides the file
//! given with `--config`, which overrides the defaults. The flags that a program has besides are treated alike.

mod error;
mod explain;
mod explained;
mod flags;
mod keys;
mod policies;
mod program;
mod source;
mod sources;
mod values;

pub use self::error::ConfigError;
pub use self::keys::Config;
pub(crate) use self::keys::{Defaults, WORKERS_MAX};
pub use self::policies::PolicyConfig;
pub(crate) use self::program::{Program, Read};
pub use self::values::{Listen, LogFormat, PeerConfig, StoreAt, Switch, duration};

#[cfg(test)]
pub(crate) mod tests;
