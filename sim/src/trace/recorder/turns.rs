//! Who goes first, as the seed has it.

use crate::entropy;

/// Draws, again and again, whether a task lets others go first.
#[derive(Debug)]
pub(crate) struct Turns {
    state: u64,
    percent: u64,
}

impl Turns {
    pub(super) fn new(seed: u64, percent: u8) -> Self {
        Self { state: entropy::mix(seed), percent: u64::from(percent) }
    }

    /// Whether the task that asks should let others go first.
    pub(crate) fn should_yield(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        entropy::mix(self.state) % 100 < self.percent
    }
}
