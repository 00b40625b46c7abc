//! Whether so many calls failed that a breaker opens: in a row, or of all calls of the last seconds.

use tokio::time::Instant;

use crate::policy::Breaker;

/// How long a call counts for a share of failures, in seconds.
const WINDOW: usize = 10;

/// Of fewer calls than that in the window, no share means anything.
const ENOUGH: u32 = 20;

/// What the calls of a service came to of late.
#[derive(Debug)]
pub(crate) struct Failures {
    most: Breaker,
    began: Instant,
    in_a_row: u32,
    /// By second, each in its place of the ring.
    seconds: [Second; WINDOW],
}

#[derive(Debug, Default, Clone, Copy)]
struct Second {
    /// Which one it is, counted from the beginning.
    number: u64,
    calls: u32,
    failed: u32,
}

impl Failures {
    pub(crate) fn new(most: Breaker, now: Instant) -> Self {
        Self { most, began: now, in_a_row: 0, seconds: Default::default() }
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.in_a_row = 0;
        self.count(0, now);
    }

    /// A call has failed; whether that is one too many.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.count(1, now);
        match self.most {
            Breaker::InARow(most) => self.in_a_row >= most,
            Breaker::Percent(most) => {
                let (calls, failed) = self.of_window(now);
                calls >= ENOUGH && u64::from(failed) * 100 >= u64::from(calls) * u64::from(most)
            }
        }
    }

    /// What was so far tells nothing any more.
    pub(crate) fn forget(&mut self) {
        (self.in_a_row, self.seconds) = (0, Default::default());
    }

    fn count(&mut self, failed: u32, now: Instant) {
        let number = self.second(now);
        // What is left of a division by ten is a place in the ring.
        let second = &mut self.seconds[(number % WINDOW as u64) as usize];
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second.calls = second.calls.saturating_add(1);
        second.failed = second.failed.saturating_add(failed);
    }

    /// How many calls ended in the window, and how many of them failed.
    fn of_window(&self, now: Instant) -> (u32, u32) {
        let oldest = self.second(now).saturating_sub(WINDOW as u64 - 1);
        let recent = self.seconds.iter().filter(|second| second.number >= oldest);
        recent.fold((0, 0), |(calls, failed), second| {
            (calls.saturating_add(second.calls), failed.saturating_add(second.failed))
        })
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, began: Instant) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_between_failures_ends_their_row() {
        let now = Instant::now();
        let mut failures = Failures::new(Breaker::InARow(3), now);
        assert!(!failures.failed(now) && !failures.failed(now));
        failures.answered(now);
        assert_eq!([(); 3].map(|()| failures.failed(now)), [false, false, true]);
    }

    #[test]
    fn a_share_means_something_from_twenty_calls_on() {
        let now = Instant::now();
        let mut failures = Failures::new(Breaker::Percent(50), now);
        (0..9).for_each(|_| failures.answered(now));
        let told: Vec<_> = (0..11).map(|_| failures.failed(now)).collect();
        assert_eq!(told.iter().position(|told| *told), Some(10), "11 of 20");
    }

    #[test]
    fn a_share_is_of_all_calls_and_not_of_those_that_failed() {
        let now = Instant::now();
        let mut failures = Failures::new(Breaker::Percent(50), now);
        (0..30).for_each(|_| failures.answered(now));
        let told: Vec<_> = (0..30).map(|_| failures.failed(now)).collect();
        assert_eq!(told.iter().position(|told| *told), Some(29), "30 of 60");
    }

    #[test]
    fn calls_of_ten_seconds_ago_do_not_count() {
        let began = Instant::now();
        let mut failures = Failures::new(Breaker::Percent(50), began);
        (0..19).for_each(|_| assert!(!failures.failed(began)));
        assert!(!failures.failed(at(10, began)), "one of one");
        (0..18).for_each(|_| assert!(!failures.failed(at(19, began))));
        assert!(failures.failed(at(19, began)), "twenty of twenty");
        assert!(
            !failures.failed(at(30, began)),
            "one of one, though nothing has come in the place of the others"
        );
    }
}
