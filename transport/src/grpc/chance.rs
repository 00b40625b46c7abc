//! Chance, to which waits and choices are left.

/// From 0 to 1, without 1.
#[expect(clippy::disallowed_methods, reason = "waits and choices are left to chance; a rehearsal seeds it")]
pub(super) fn chance() -> f64 {
    fastrand::f64()
}
