//! What holds for the calls to one service: plain data, complete and checked by whoever reads the configuration.
//!
//! The layers of [`crate::client`] do as it says. A policy never makes a call that is not idempotent go out twice without
//! the proof that nobody has handled it: that is the contract's to say (`idempotency_level`), not the configuration's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::Field;
use crate::status::{Code, code_name};

/// The policies of the calls to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// What repeated attempts may cost, for all methods together.
    pub budget: RetryBudget,
    /// What holds calls back that are likely to fail; none is nothing.
    pub breaker: Option<Breaker>,
    /// The most calls that one client has in flight at once; none is no limit.
    pub max_in_flight: Option<MaxInFlight>,
    /// Whether each connection carries calls only while its callee says that it serves (gRFC A17).
    pub health_check: bool,
    /// What holds for methods that are not named.
    pub service: Arc<Policy>,
    /// What holds for those that are, by their paths.
    pub methods: Vec<(&'static str, Arc<Policy>)>,
}

/// What holds for the calls of one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The longest that a call takes, all attempts and the waits between them included.
    pub deadline: Duration,
    /// The most attempts of a call in all; 1 is no retry. A call that is not idempotent is repeated only with the proof
    /// that nobody has handled it.
    pub attempts: u32,
    /// What an idempotent call is repeated after.
    pub retry_codes: Codes,
    /// The wait before the second attempt; it doubles for each further one, and is spread by a fifth.
    pub backoff: Duration,
    /// The longest of these waits, before it is spread.
    pub backoff_max: Duration,
    /// Whether an idempotent call that takes longer than 95 of 100 goes out a second time, if there is another address.
    pub hedge: bool,
    /// Whether a call waits where the callee is down, in place of failing at once.
    pub wait_for_ready: bool,
    /// The field of the request by which endpoints are chosen: calls with the same value go to the same one, for as long as
    /// it is there. None: by their load.
    pub key: Option<Field>,
}

/// How many calls to a service must fail for its breaker to open. What it says in the line of its work is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// So many in a row.
    InARow(u32),
    /// So many of a hundred of the last ten seconds, where there were twenty or more.
    Percent(u32),
}

/// How many calls to a service may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxInFlight {
    /// So many.
    Calls(u32),
    /// As many as do not make round trips longer: from 4 to 1000, and 20 at first.
    Adaptive,
}

/// What repeated attempts may cost (gRFC A6, with savings): a failure that could be repeated takes one token, a success adds
/// `ratio`, up to ten times `tokens`. Attempts are repeated only while more than half of `tokens` are there, so that since the
/// beginning there were never more than (1 + `ratio`) x calls + `tokens` / 2 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// The tokens in the beginning, twice as many as must be left.
    pub tokens: u32,
    /// What a success adds, in thousandths of a token.
    pub ratio: u32,
}

/// A set of status codes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Codes(u32);

impl Policies {
    /// The defaults, with this deadline.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        let (service, methods) = (Arc::new(Policy::new(deadline)), Vec::new());
        let (budget, breaker, max_in_flight, health_check) = (RetryBudget::default(), None, None, false);
        Self { budget, breaker, max_in_flight, health_check, service, methods }
    }

    /// The same, where each call is tried once: in memory there is nothing else to go to.
    #[must_use]
    pub fn without_retries(mut self) -> Self {
        let methods = self.methods.iter_mut().map(|(_, policy)| policy);
        for policy in methods.chain([&mut self.service]) {
            let policy = Arc::make_mut(policy);
            (policy.attempts, policy.hedge, policy.key) = (1, false, None);
        }
        self
    }

    /// What holds for the method at `path`.
    pub(crate) fn of(&self, path: &str) -> &Arc<Policy> {
        let named = self.methods.iter().find(|(named, _)| *named == path);
        named.map_or(&self.service, |(_, policy)| policy)
    }
}

impl Policy {
    /// The defaults, with this deadline.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            attempts: 3,
            retry_codes: Codes::of(&[Code::Unavailable]),
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            hedge: false,
            wait_for_ready: false,
            key: None,
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tokens: 10, ratio: 100 }
    }
}

impl Codes {
    /// These.
    #[must_use]
    pub fn of(codes: &[Code]) -> Self {
        Self(codes.iter().fold(0, |set, code| set | bit(*code)))
    }

    /// Whether `code` is among them.
    #[must_use]
    pub fn has(self, code: Code) -> bool {
        self.0 & bit(code) != 0
    }

    /// Each of them, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        (0..=16).map(Code::from_i32).filter(move |code| self.has(*code))
    }
}

fn bit(code: Code) -> u32 {
    1 << code as u32
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(code_name).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_named_has_its_own_policy_and_others_that_of_the_service() {
        let mut policies = Policies::new(Duration::from_secs(1));
        let own = Policy { attempts: 7, ..Policy::new(Duration::from_secs(2)) };
        policies.methods.push(("/a.B/C", Arc::new(own)));
        assert_eq!(["/a.B/C", "/a.B/D"].map(|path| policies.of(path).attempts), [7, 3]);
        let once = policies.without_retries();
        assert_eq!(["/a.B/C", "/a.B/D"].map(|path| once.of(path).attempts), [1, 1]);
        assert_eq!(once.of("/a.B/C").deadline, Duration::from_secs(2));
    }

    #[test]
    fn a_set_of_codes_has_those_that_it_was_made_of() {
        let codes = Codes::of(&[Code::Unauthenticated, Code::Unavailable]);
        assert!(codes.has(Code::Unavailable) && codes.has(Code::Unauthenticated) && !codes.has(Code::Ok));
        assert_eq!(codes.to_string(), "UNAVAILABLE,UNAUTHENTICATED");
    }
}
