//! How long the calls of one method usually take, so that one which has less time left is refused at once, in place of
//! taking the time of others and being late all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Of so many calls that were answered last, the median is what is usual; of fewer, nothing is.
const SAMPLES: usize = 32;

/// It is found anew after so many answers.
const EVERY: usize = 8;

/// One of so many calls that have too little time is taken on all the same: a method that became fast again is found to be.
const LET_THROUGH: usize = 8;

/// What is usual is forgotten when nothing was answered for so long.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// What is usual for one method on one worker.
#[derive(Debug)]
pub(crate) struct Usual(Mutex<Samples>);

#[derive(Debug)]
struct Samples {
    times: [Duration; SAMPLES],
    /// How many were answered since it was forgotten last.
    answered: usize,
    last: Instant,
    median: Duration,
    /// How many had too little time.
    short: usize,
}

impl Usual {
    /// Nothing is usual yet.
    pub(crate) fn new() -> Self {
        let (times, median) = ([Duration::ZERO; SAMPLES], Duration::ZERO);
        Self(Mutex::new(Samples { times, answered: 0, last: Instant::now(), median, short: 0 }))
    }

    /// Whether a call is worth taking on that has so much time `left`.
    pub(crate) fn allows(&self, left: Duration, now: Instant) -> bool {
        let mut samples = self.lock();
        samples.forget_stale(now);
        if samples.answered < SAMPLES || left >= samples.median {
            return true;
        }
        samples.short = samples.short.wrapping_add(1);
        samples.short.is_multiple_of(LET_THROUGH)
    }

    /// A call was answered now that took so long.
    pub(crate) fn took(&self, time: Duration, now: Instant) {
        let mut samples = self.lock();
        samples.forget_stale(now);
        samples.last = now;
        let place = samples.answered % SAMPLES;
        samples.times[place] = time;
        samples.answered += 1;
        if samples.answered >= SAMPLES && samples.answered.is_multiple_of(EVERY) {
            let mut times = samples.times;
            samples.median = *times.select_nth_unstable(SAMPLES / 2).1;
        }
    }

    /// Never contended: the calls of a method on a worker are on one thread.
    fn lock(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples {
    fn forget_stale(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) > STALE_AFTER {
            self.answered = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn answered(usual: &Usual, count: usize, time: Duration) {
        (0..count).for_each(|_| usual.took(time, Instant::now()));
    }

    /// How many of eighty calls with so much left are let in.
    fn let_in(usual: &Usual, left: Duration) -> usize {
        (0..80).filter(|_| usual.allows(left, Instant::now())).count()
    }

    #[test]
    fn nothing_is_usual_before_enough_calls_were_answered() {
        let usual = Usual::new();
        answered(&usual, SAMPLES - 1, ms(100));
        assert_eq!(let_in(&usual, ms(1)), 80);
        answered(&usual, 1, ms(100));
        assert_eq!(let_in(&usual, ms(99)), 10, "one of eight");
        assert_eq!(let_in(&usual, ms(100)), 80);
    }

    #[test]
    fn a_few_slow_calls_are_not_usual() {
        let usual = Usual::new();
        for _ in 0..SAMPLES {
            answered(&usual, 2, ms(10));
            answered(&usual, 1, ms(1000));
        }
        assert_eq!(let_in(&usual, ms(10)), 80);
    }

    #[test]
    fn a_few_quick_calls_are_not_usual() {
        let usual = Usual::new();
        answered(&usual, SAMPLES - 1, ms(100));
        answered(&usual, 1, ms(1));
        assert_eq!(let_in(&usual, ms(50)), 10);
    }

    #[test]
    fn what_is_usual_is_found_anew_after_eight_answers_and_not_with_each() {
        let usual = Usual::new();
        answered(&usual, SAMPLES, ms(100));
        answered(&usual, EVERY * 3 - 1, ms(1));
        assert_eq!(let_in(&usual, ms(50)), 10);
        answered(&usual, 1, ms(1));
        assert_eq!(let_in(&usual, ms(50)), 80);
    }

    #[test]
    fn a_method_that_became_fast_again_lets_all_in_again() {
        let usual = Usual::new();
        answered(&usual, SAMPLES, ms(100));
        for _ in 0..256 {
            // Each that is let in is answered at once now.
            let is_let_in = usual.allows(ms(50), Instant::now());
            answered(&usual, usize::from(is_let_in), ms(1));
        }
        assert_eq!(let_in(&usual, ms(50)), 80);
    }

    #[test]
    fn what_was_usual_long_ago_is_forgotten() {
        let usual = Usual::new();
        answered(&usual, SAMPLES, ms(100));
        assert!(!usual.allows(ms(1), Instant::now()));
        assert!(usual.allows(ms(1), Instant::now() + STALE_AFTER * 2));
    }
}
