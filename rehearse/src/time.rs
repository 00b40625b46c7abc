//! Times as scenarios write them.

use std::time::Duration;

/// Writes a number of milliseconds as `400.ms()`.
pub trait Ms {
    /// So many milliseconds.
    fn ms(self) -> Duration;
}

impl Ms for u64 {
    fn ms(self) -> Duration {
        Duration::from_millis(self)
    }
}
