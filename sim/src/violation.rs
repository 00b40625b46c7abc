//! A broken promise.

use std::fmt;
use std::time::Duration;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What was promised.
    pub promise: String,
    /// What was seen instead.
    pub detail: String,
    /// When, counted from the start of the simulation.
    pub at: Duration,
    /// Whether the program broke it, or the scenario cannot be rehearsed as it is.
    pub kind: ViolationKind,
}

/// What a violation says something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViolationKind {
    /// The program: it broke a promise under this plan.
    Promise,
    /// Two plays of one plan: they came to different ends. No play shows that alone, so it is not shrunk.
    Comparison,
    /// The scenario: it is wrong under every plan, so there is nothing to shrink and nothing to keep.
    SetUp,
}

impl Violation {
    /// Two plays that must be alike, and are not.
    pub(crate) fn of_comparison(promise: &str, detail: impl Into<String>) -> Self {
        Self { kind: ViolationKind::Comparison, ..Self::of_whole(promise, detail) }
    }

    /// A broken promise about a rehearsal as a whole.
    pub(crate) fn of_whole(promise: &str, detail: impl Into<String>) -> Self {
        let (promise, detail) = (promise.to_owned(), detail.into());
        Self { promise, detail, at: Duration::ZERO, kind: ViolationKind::Promise }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {} ms)", self.promise, self.detail, self.at.as_millis())
    }
}
