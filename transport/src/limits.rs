//! What a service takes on.

/// What one service takes on, on one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes.
    pub message_size: usize,
    /// The most calls with one request and one answer at once. One more is refused at once with
    /// `RESOURCE_EXHAUSTED`. Work that outlives its call is bounded by the same number, apart.
    pub calls: usize,
    /// The most calls with a streamed request or answer at once, bounded apart from the others since they may
    /// last for hours. One more is refused at once with `RESOURCE_EXHAUSTED`.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_size: 4 * 1024 * 1024, calls: 1024, streams: 1024 }
    }
}
