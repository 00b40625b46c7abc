//! The budget of repeated attempts: gRFC A6's throttle with savings. It needs no clock, so that a bound can be proven.
//!
//! A client begins with its tokens. A call that works adds the ratio, a tenth; an attempt beyond the first takes one, and is
//! made only if more than half of the tokens of the beginning are left then. So attempts <= (1 + ratio) x calls + tokens / 2
//! over the whole life of a client: before the last further attempt was let through there were no more than
//! `tokens + ratio x calls` in all, each of the `n` that were let through took one, and more than `tokens / 2` were left, so that
//! `n < tokens / 2 + ratio x calls`. How many tokens may be there at a time is no part of this. A6 never lets there be more than in
//! the beginning, with which the calls that one lost connection takes along cannot be made again: what was earned before is
//! gone. Here they are saved up to ten times as many, as in the budgets of Finagle and linkerd, where the calls of
//! the last ten seconds pay. Since they are bounded, a long good time pays for no more than the attempts of one bad moment.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::policy::RetryBudget;

/// One token, in thousandths.
const TOKEN: u32 = 1000;

/// How many times the tokens of the beginning may be there.
const SAVED_MAX: u32 = 10;

/// How many calls are the first ones of a client, by when there are so many tokens more as there were in the beginning.
const FIRST_CALLS: u32 = 100;

/// The tokens of one client. In a node a client stays on its worker, so that nobody contends for them.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// More than so many must be left when an attempt is made.
    reserve: u32,
    most: u32,
    ratio: u32,
    left: AtomicU32,
    /// How many calls more are the first ones.
    first_calls: AtomicU32,
}

impl Tokens {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        let first = budget.tokens.saturating_mul(TOKEN);
        let (reserve, most, ratio) = (first / 2, first.saturating_mul(SAVED_MAX), budget.ratio);
        // Where nothing can be earned, nobody waits for it.
        let first_calls = AtomicU32::new(if first > 0 && ratio > 0 { FIRST_CALLS } else { 0 });
        Self { reserve, most, ratio, left: AtomicU32::new(first), first_calls }
    }

    /// Whether hardly any call was made yet, so that nothing was saved for a bad moment.
    pub(crate) fn are_new(&self) -> bool {
        self.first_calls.load(Ordering::Relaxed) > 0
    }

    /// A call, or an attempt of one, has ended.
    fn age(&self) {
        if self.are_new() {
            let fewer = |calls: u32| calls.checked_sub(1);
            self.first_calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).ok();
        }
    }

    /// An attempt failed in a way that may be repeated. Whether another one may be made: more than the reserve is left now.
    pub(crate) fn charge(&self) -> bool {
        self.age();
        let taken = |left: u32| Some(left.saturating_sub(TOKEN));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        before.is_ok_and(|before| before.saturating_sub(TOKEN) > self.reserve)
    }

    /// Takes a token for an attempt beside one that has not failed; nothing if no more than the reserve would be left.
    pub(crate) fn spend(&self) -> bool {
        let taken = |left: u32| Some(left.saturating_sub(TOKEN)).filter(|left| *left > self.reserve);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// A call worked.
    pub(crate) fn credit(&self) {
        self.age();
        // Mostly all of them are there, and nothing is written.
        let given = |left: u32| (left < self.most).then(|| left.saturating_add(self.ratio).min(self.most));
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, given).ok();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_callee_that_always_fails_costs_four_attempts_more() {
        let tokens = Tokens::new(RetryBudget::default());
        assert_eq!((0..100).filter(|_| tokens.charge()).count(), 4);
        assert!(!tokens.spend(), "nothing is left for a hedge either");
    }

    #[test]
    fn ten_successes_pay_for_one_more_attempt() {
        let tokens = Tokens::new(RetryBudget::default());
        assert_eq!((0..5).filter(|_| tokens.charge()).count(), 4);
        (0..10).for_each(|_| tokens.credit());
        assert!(!tokens.charge(), "exactly half is not more than half");
        (0..11).for_each(|_| tokens.credit());
        assert!(tokens.charge());
    }

    #[test]
    fn calls_that_one_lost_connection_takes_along_are_paid_for_by_those_that_worked_before() {
        let tokens = Tokens::new(RetryBudget::default());
        (0..300).for_each(|_| tokens.credit());
        assert_eq!((0..100).filter(|_| tokens.charge()).count(), 34, "thirty more than without them");
    }

    #[test]
    fn however_many_calls_have_worked_a_bad_moment_costs_ninety_four_attempts_at_most() {
        let tokens = Tokens::new(RetryBudget::default());
        (0..100_000).for_each(|_| tokens.credit());
        assert_eq!((0..1000).filter(|_| tokens.charge()).count(), 94);
    }

    #[test]
    fn a_hundred_calls_are_the_first_ones_whatever_they_come_to() {
        for ends in [Tokens::credit, |tokens: &Tokens| _ = tokens.charge()] {
            let tokens = Tokens::new(RetryBudget::default());
            (0..99).for_each(|_| ends(&tokens));
            assert!(tokens.are_new());
            ends(&tokens);
            assert!(!tokens.are_new());
        }
    }

    #[test]
    fn without_tokens_none_are_saved() {
        let tokens = Tokens::new(RetryBudget { tokens: 0, ..RetryBudget::default() });
        (0..1000).for_each(|_| tokens.credit());
        assert!(!tokens.charge() && !tokens.spend() && !tokens.are_new());
    }

    proptest! {
        #[test]
        fn attempts_never_exceed_eleven_tenths_of_the_calls_and_five(
            calls in prop::collection::vec(prop::collection::vec(0..3_u8, 1..6), 1..300),
            good in prop::collection::vec(0..200_usize, 1..300),
        ) {
            let tokens = Tokens::new(RetryBudget::default());
            let (mut made, mut attempts) = (0_usize, 0_usize);
            for (call, good) in calls.iter().zip(good.iter().cycle()) {
                // Good times, in which tokens are saved, and then one call that may fail.
                (0..*good).for_each(|_| tokens.credit());
                (made, attempts) = (made + good + 1, attempts + good);
                for outcome in call {
                    attempts += 1;
                    let goes_on = match outcome {
                        0 => { tokens.credit(); false }
                        1 => tokens.charge(),
                        _ => tokens.spend(),
                    };
                    if !goes_on {
                        break;
                    }
                }
            }
            prop_assert!(attempts * 10 <= made * 11 + 50, "{attempts} attempts of {made} calls");
        }
    }
}
