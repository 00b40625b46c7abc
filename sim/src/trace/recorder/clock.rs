//! The virtual time of the rehearsal.

use std::time::Duration;

use crate::entropy;

/// Where in virtual time the rehearsal is.
#[derive(Debug)]
pub(crate) struct Clock {
    tick_start: Duration,
    warm_up: Duration,
    origin: tokio::time::Instant,
    /// How often a program had read its wall clock when that was last looked at.
    wall_reads: u64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where virtual time starts")]
    pub(super) fn new(warm_up: Duration) -> Self {
        let origin = (std::time::Instant::now() + warm_up).into();
        Self { tick_start: Duration::ZERO, warm_up, origin, wall_reads: entropy::wall_reads() }
    }

    /// Begins a tick at `now`.
    pub(crate) fn start_tick(&mut self, now: Duration) {
        self.tick_start = now;
        entropy::set_now(self.warm_up + now);
    }

    pub(crate) fn tick_start(&self) -> Duration {
        self.tick_start
    }

    /// The virtual time: exact while a host runs, else that of the tick.
    ///
    /// A host's tokio clock starts with the host's runtime, which turmoil first lets sleep a millisecond.
    pub(super) fn now(&self, a_host_runs: bool) -> Duration {
        const RUNTIME_HEAD_START: Duration = Duration::from_millis(1);
        if !a_host_runs {
            return self.tick_start;
        }
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.origin);
        elapsed.saturating_sub(RUNTIME_HEAD_START).max(self.tick_start)
    }

    /// Whether the wall clock was read since the last time.
    pub(super) fn wall_was_read(&mut self) -> bool {
        let reads = entropy::wall_reads();
        std::mem::replace(&mut self.wall_reads, reads) != reads
    }

    /// How far the wall clock of who runs now is off.
    pub(super) fn set_wall_offset(&self, offset_nanos: i64) {
        entropy::set_wall_offset(offset_nanos);
    }
}
