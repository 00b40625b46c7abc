//! The limits in force in every world, and how long tests wait.

use std::time::Duration;

use transport::Limits;

/// The longest that a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The limits in force in every world: small, so that they are easily met.
pub(crate) const LIMITS: Limits = Limits { message_size: 64 * 1024, calls: 4, streams: 4 };
