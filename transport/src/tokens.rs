//! The budget of repeated attempts, by gRFC A6's throttle: it needs no clock, so that a bound can be proven.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::policy::RetryBudget;

/// One token, in thousandths.
const TOKEN: u32 = 1000;

/// The tokens of one client. In a node a client stays on its worker, so that nobody contends for them.
#[derive(Debug)]
pub(crate) struct Tokens {
    most: u32,
    ratio: u32,
    left: AtomicU32,
}

impl Tokens {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        let most = budget.tokens.saturating_mul(TOKEN);
        Self { most, ratio: budget.ratio, left: AtomicU32::new(most) }
    }

    /// An attempt failed in a way that may be repeated. Whether another one may be made: more than half is left now.
    pub(crate) fn charge(&self) -> bool {
        let taken = |left: u32| Some(left.saturating_sub(TOKEN));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        before.is_ok_and(|before| before.saturating_sub(TOKEN) > self.most / 2)
    }

    /// Takes a token for an attempt beside one that has not failed; nothing if no more than half would be left.
    pub(crate) fn spend(&self) -> bool {
        let taken = |left: u32| Some(left.saturating_sub(TOKEN)).filter(|left| *left > self.most / 2);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// A call worked.
    pub(crate) fn credit(&self) {
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

    proptest! {
        #[test]
        fn attempts_never_exceed_eleven_tenths_of_the_calls_and_five(
            calls in prop::collection::vec(prop::collection::vec(0..3_u8, 1..6), 1..300)
        ) {
            let tokens = Tokens::new(RetryBudget::default());
            let mut attempts = 0_usize;
            for call in &calls {
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
            prop_assert!(attempts * 10 <= calls.len() * 11 + 50, "{attempts} attempts of {} calls", calls.len());
        }
    }
}
