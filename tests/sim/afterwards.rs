//! The work that calls leave behind, as services that do it and promises about it both know it.

use std::time::Duration;

/// How long the work may take that a call leaves behind.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(2);

/// What a line says under `afterwards` of such work.
pub(crate) const BEGUN: &str = "begun";
pub(crate) const DONE: &str = "done";
