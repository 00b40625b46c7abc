//! How many calls a callee has room for, as its round trips tell it: where they grow, calls wait for each other there.
//!
//! This is Envoy's gradient controller
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter>) without its
//! probes. Envoy asks for the lowest round trip again by letting hardly any call through for a while, which its users felt
//! as an outage every few minutes. Here the lowest ages towards what is seen in place of that. It knows no call.

use std::time::Duration;

use tokio::time::Instant;

/// The limit at first. It never falls below `LEAST`, so that it always learns, and never grows beyond `MOST`.
const START: f64 = 20.0;
const LEAST: f64 = 4.0;
const MOST: f64 = 1000.0;

/// The limit is found anew after this time, and from so many calls.
const EVERY: Duration = Duration::from_millis(100);
const ENOUGH: usize = 10;

/// So many round trips are remembered, the last ones.
const SAMPLES: usize = 64;

/// How far above the lowest a round trip may lie that is not taken for waiting.
const TOLERANCE: f64 = 1.25;

/// The least that a limit may shrink to at once.
const GRADIENT_LEAST: f64 = 0.5;

/// In this time the difference between the lowest and what is seen falls to 1/e. So a callee that became slower for good is
/// taken for what it is after some ten minutes, in which the limit of one that is overloaded without a break grows by half.
const AGES_IN: Duration = Duration::from_secs(600);

/// What the round trips of one callee tell.
#[derive(Debug)]
pub(crate) struct Gradient {
    limit: f64,
    /// The lowest that a median was, in seconds, and aged; none where nothing is known.
    lowest: Option<f64>,
    window: Window,
}

/// What was seen since the limit was found last.
#[derive(Debug)]
struct Window {
    since: Instant,
    /// Round trips, in the order in which they came, and from the oldest again once there are many.
    samples: Vec<Duration>,
    answered: usize,
    /// How many calls the callee refused for want of room.
    refused: usize,
    /// The most calls that were in flight at once.
    most: u32,
}

impl Gradient {
    pub(crate) fn new(now: Instant) -> Self {
        Self { limit: START, lowest: None, window: Window::new(now, Vec::with_capacity(SAMPLES)) }
    }

    /// The most calls that may be in flight.
    pub(crate) fn limit(&self) -> u32 {
        // It lies between two whole numbers, so that this only cuts off the fraction.
        self.limit as u32
    }

    /// So many calls are in flight now, a new one among them.
    pub(crate) fn begun(&mut self, in_flight: u32) {
        self.window.most = self.window.most.max(in_flight);
    }

    /// A call was answered after so long.
    pub(crate) fn answered(&mut self, after: Duration, now: Instant) {
        self.window.note(after);
        self.find(now);
    }

    /// A call was not answered by its deadline, so long after it began. Less than the lowest round trip says nothing.
    pub(crate) fn was_late(&mut self, after: Duration, now: Instant) {
        if self.lowest.is_some_and(|lowest| lowest <= after.as_secs_f64()) {
            self.answered(after, now);
        }
    }

    /// The callee has refused a call for want of room.
    pub(crate) fn refused(&mut self, now: Instant) {
        self.window.refused += 1;
        self.find(now);
    }

    /// Finds the limit anew, if it is time.
    fn find(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.window.since);
        if age < EVERY || self.window.answered + self.window.refused < ENOUGH {
            return;
        }
        let fresh = Window::new(now, Vec::new());
        let mut seen = std::mem::replace(&mut self.window, fresh);
        let gradient = seen.median().map_or(1.0, |sample| self.gradient(sample, age));
        // Who has few calls in flight learns nothing of how many more there could be.
        if f64::from(seen.most) * 2.0 >= self.limit {
            let room = seen.answered as f64 / (seen.answered + seen.refused) as f64;
            let limit = self.limit * gradient;
            self.limit = ((limit + limit.sqrt()) * room).clamp(LEAST, MOST);
        }
        seen.samples.clear();
        self.window.samples = seen.samples;
    }

    /// What the limit is to be multiplied by, where round trips are such a `sample`: above 1 while none waits.
    fn gradient(&mut self, sample: f64, age: Duration) -> f64 {
        let aged = |lowest: f64| {
            let weight = (-age.as_secs_f64() / AGES_IN.as_secs_f64()).exp();
            sample - (sample - lowest) * weight
        };
        let lowest = self.lowest.map_or(sample, |lowest| aged(lowest).min(sample));
        self.lowest = Some(lowest);
        if sample > 0.0 { (lowest * TOLERANCE / sample).max(GRADIENT_LEAST) } else { TOLERANCE }
    }
}

impl Window {
    fn new(since: Instant, samples: Vec<Duration>) -> Self {
        Self { since, samples, answered: 0, refused: 0, most: 0 }
    }

    fn note(&mut self, sample: Duration) {
        match self.samples.get_mut(self.answered % SAMPLES) {
            Some(oldest) => *oldest = sample,
            None => self.samples.push(sample),
        }
        self.answered += 1;
    }

    /// In seconds.
    fn median(&mut self) -> Option<f64> {
        let middle = self.samples.len() / 2;
        let samples = &mut self.samples;
        (!samples.is_empty()).then(|| samples.select_nth_unstable(middle).1.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Plays so many windows with `in_flight` calls at most, each of which takes what `takes` says for that many.
    fn windows(
        gradient: &mut Gradient,
        now: &mut Instant,
        count: usize,
        in_flight: impl Fn(u32) -> u32,
        takes: impl Fn(u32) -> Duration,
    ) {
        for _ in 0..count {
            let there = in_flight(gradient.limit());
            gradient.begun(there);
            *now += EVERY;
            (0..ENOUGH).for_each(|_| gradient.answered(takes(there), *now));
        }
    }

    fn gradient() -> (Gradient, Instant) {
        let now = Instant::now();
        (Gradient::new(now), now)
    }

    /// A callee that handles twenty calls at once, and others after them.
    fn of_twenty(in_flight: u32) -> Duration {
        MS * 10 * in_flight.max(20) / 20
    }

    #[test]
    fn a_callee_that_never_waits_gets_all_calls_up_to_a_thousand() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 30, |limit| limit, |_| MS * 10);
        assert_eq!(gradient.limit(), 1000);
    }

    #[test]
    fn the_limit_stays_near_where_calls_begin_to_wait_for_each_other() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 1, |_| 10, of_twenty);
        for minute in 1..=10 {
            windows(&mut gradient, &mut now, 600, |limit| limit, of_twenty);
            assert!((20..=50).contains(&gradient.limit()), "{} after {minute} min", gradient.limit());
        }
    }

    #[test]
    fn who_has_few_calls_in_flight_learns_nothing_of_more() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 1000, |_| 9, |_| MS * 10);
        windows(&mut gradient, &mut now, 1000, |_| 9, |_| MS * 100);
        assert_eq!(gradient.limit(), 20);
    }

    #[test]
    fn who_has_half_of_the_limit_in_flight_learns_of_more() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 1, |limit| limit / 2, |_| MS * 10);
        assert!(gradient.limit() > 20, "{}", gradient.limit());
    }

    #[test]
    fn a_callee_that_takes_no_time_at_all_gets_ever_more_calls() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 30, |limit| limit, |_| Duration::ZERO);
        assert_eq!(gradient.limit(), 1000);
    }

    #[test]
    fn a_window_has_the_median_of_its_last_round_trips() {
        let mut window = Window::new(Instant::now(), Vec::new());
        (1..=9).for_each(|ms| window.note(MS * ms));
        assert_eq!(window.median(), Some(0.005));
        (0..SAMPLES).for_each(|_| window.note(MS * 1000));
        (0..SAMPLES).for_each(|_| window.note(MS));
        assert_eq!((window.median(), window.samples.len()), (Some(0.001), SAMPLES));
    }

    #[test]
    fn what_was_seen_in_one_window_says_nothing_in_the_next() {
        let (mut gradient, mut now) = gradient();
        (0..ENOUGH * 5).for_each(|_| gradient.answered(MS * 1000, now));
        now += EVERY;
        gradient.answered(MS * 1000, now);
        windows(&mut gradient, &mut now, 1, |limit| limit, |_| MS * 10);
        assert_eq!(gradient.lowest, Some(0.010));
    }

    #[test]
    fn a_callee_that_became_slower_for_good_has_its_calls_again_in_the_end() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 10, |limit| limit, |_| MS * 10);
        windows(&mut gradient, &mut now, 10, |limit| limit, |_| MS * 30);
        assert!(gradient.limit() < 20, "{}", gradient.limit());
        windows(&mut gradient, &mut now, 20 * 60 * 10, |limit| limit, |_| MS * 30);
        assert!(gradient.limit() > 100, "{}", gradient.limit());
    }

    #[test]
    fn a_callee_that_refuses_calls_gets_no_more_than_it_takes() {
        let (mut gradient, mut now) = gradient();
        for _ in 0..100 {
            let there = gradient.limit();
            gradient.begun(there);
            now += EVERY;
            (0..there.min(30)).for_each(|_| gradient.answered(MS * 10, now));
            (30..there).for_each(|_| gradient.refused(now));
        }
        assert!((20..=45).contains(&gradient.limit()), "{}", gradient.limit());
    }

    #[test]
    fn a_deadline_shorter_than_a_round_trip_says_nothing() {
        let (mut gradient, mut now) = gradient();
        windows(&mut gradient, &mut now, 1, |limit| limit, |_| MS * 10);
        let (limit, lowest) = (gradient.limit(), gradient.lowest);
        (0..100).for_each(|_| gradient.was_late(MS, now + EVERY));
        assert_eq!((gradient.limit(), gradient.lowest), (limit, lowest));
        gradient.begun(limit);
        (0..10).for_each(|_| gradient.was_late(MS * 1000, now + EVERY));
        assert!(gradient.limit() < limit, "what hangs is slow");
    }
}
