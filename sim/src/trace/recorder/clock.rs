//! The time of the rehearsal: virtual in a simulated world, real and stretched in a dress rehearsal.

use std::time::Duration;

use tokio::time::Instant;

use crate::entropy;

/// Where in its time the rehearsal is.
#[derive(Debug)]
pub(crate) struct Clock {
    tick_start: Duration,
    warm_up: Duration,
    origin: Instant,
    /// How often a program had read its wall clock when that was last looked at.
    wall_reads: u64,
    /// Where time is real.
    real: Option<Real>,
}

/// The time of a plan, as it passes in a dress rehearsal.
#[derive(Debug)]
struct Real {
    /// When the plan began; not yet, at first.
    begun: Option<Instant>,
    /// How much longer everything takes than the plan says.
    stretch: u32,
    /// The time of what is told now: a process tells of itself later.
    told: Option<Duration>,
}

impl Real {
    fn now(&self) -> Duration {
        let passed = || self.begun.map(|begun| begun.elapsed() / self.stretch).unwrap_or_default();
        self.told.unwrap_or_else(passed)
    }
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where virtual time starts")]
    pub(crate) fn new(warm_up: Duration) -> Self {
        let origin = (std::time::Instant::now() + warm_up).into();
        let wall_reads = entropy::wall_reads();
        Self { tick_start: Duration::ZERO, warm_up, origin, wall_reads, real: None }
    }

    /// A clock that stands still until it is told to [`begin`](Self::begin), and shows real time from then on, of which
    /// `stretch` times as much passes.
    pub(crate) fn real(stretch: u32) -> Self {
        let real = Real { begun: None, stretch, told: None };
        Self { real: Some(real), ..Self::new(Duration::ZERO) }
    }

    /// Real time passes from `now` on.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.real.iter_mut().for_each(|real| real.begun = Some(now));
    }

    /// Shows `at` until it is told something else; `None` for the time that it is.
    pub(super) fn show(&mut self, at: Option<Duration>) {
        self.real.iter_mut().for_each(|real| real.told = at);
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
        if let Some(real) = &self.real {
            return real.now();
        }
        if !a_host_runs {
            return self.tick_start;
        }
        let elapsed = Instant::now().saturating_duration_since(self.origin);
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
