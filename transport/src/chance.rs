//! The one place where chance enters: waits are spread, and endpoints chosen, by it. A rehearsal seeds it.

use std::time::Duration;

/// From 0 to 1, without 1.
#[expect(clippy::disallowed_methods, reason = "waits and choices are left to chance; a rehearsal seeds it")]
pub(crate) fn chance() -> f64 {
    fastrand::f64()
}

/// A wait that doubles from the `first` one on and is never longer than the `longest`, spread by a fifth (gRFC A6).
pub(crate) fn doubled(first: Duration, longest: Duration, doublings: u32) -> Duration {
    spread(first.saturating_mul(1 << doublings.min(16)).min(longest))
}

/// The same time, give or take a fifth.
pub(crate) fn spread(time: Duration) -> Duration {
    time.mul_f64(0.8 + 0.4 * chance())
}
