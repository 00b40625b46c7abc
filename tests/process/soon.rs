//! How long tests wait.

use std::time::Duration;

/// The longest that a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);
