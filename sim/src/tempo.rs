//! How fast a plan is played.

use std::time::Duration;

/// How much longer everything takes than a plan says: in a simulated world as long as it says, in a dress rehearsal a
/// few times as long, so that what a busy machine does to processes stays small beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tempo {
    stretch: u32,
}

/// By how much a busy machine may hold up a process, or what it says, in a dress rehearsal.
const HELD_UP: Duration = Duration::from_millis(600);

impl Default for Tempo {
    fn default() -> Self {
        Self::stretched_by(1)
    }
}

impl Tempo {
    /// Everything takes `stretch` times as long, which is once at least.
    pub(crate) fn stretched_by(stretch: u32) -> Self {
        Self { stretch: stretch.max(1) }
    }

    /// How often.
    #[must_use]
    pub fn stretch(self) -> u32 {
        self.stretch
    }

    /// How long a time of the plan really takes.
    #[must_use]
    pub fn stretched(self, time: Duration) -> Duration {
        time * self.stretch
    }

    /// How much of the plan's time a busy machine may hold up a process, or what it says. This is the one tolerance of
    /// dress rehearsals.
    #[must_use]
    pub fn slack(self) -> Duration {
        HELD_UP / self.stretch
    }
}
