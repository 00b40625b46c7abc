//! Whether calls to a service go out: all of them, none, or one that finds out whether it works again.
//!
//! This is the circuit breaker of Nygard ("Release It!", 2007) with the probes of linkerd
//! (`linkerd/app/outbound/src/http/breaker`): the waits between them grow, and are spread. It knows no call and no status.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance::doubled;
use crate::failures::Failures;
use crate::policy::Breaker;

/// How long no call goes out at first. It doubles with each probe that fails.
const FIRST: Duration = Duration::from_secs(1);

/// The longest of these waits, before it is spread by a fifth: so long after it works again a service may be left alone.
const LONGEST: Duration = Duration::from_secs(10);

/// A probe that has come to nothing for so long is not waited for: it may be a stream that nobody ends.
const PROBE_LASTS: Duration = Duration::from_secs(10);

/// What a call has shown of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It answers, whatever it said.
    Answers,
    /// It failed, or could not be reached.
    Fails,
    /// Its answer did not come by the deadline.
    IsLate,
    /// Nothing: its caller has left, or was refused for want of room.
    Nothing,
}

/// What becomes of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// No call goes out for so long.
    Opened(Duration),
    /// A probe has failed, and none goes out for so long.
    StaysOpen(Duration),
    /// All go out.
    Closed,
}

/// A call that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// The epoch in which it went out.
    epoch: u32,
    /// Whether it is to find out if the service works again.
    pub(crate) is_probe: bool,
}

/// The circuit to one service.
#[derive(Debug)]
pub(crate) struct Circuit {
    failures: Failures,
    standing: Standing,
    /// Another one begins with every change. What went out in an earlier one shows how things stood then.
    epoch: u32,
    /// How long the last call took that was answered.
    usual: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Closed,
    /// `times` is how often it was opened without an answer between.
    Open {
        until: Instant,
        times: u32,
    },
    /// A probe is out since then.
    Probing {
        since: Instant,
        times: u32,
    },
}

impl Circuit {
    pub(crate) fn new(most: Breaker, now: Instant) -> Self {
        let (standing, usual) = (Standing::Closed, Duration::ZERO);
        Self { failures: Failures::new(most, now), standing, epoch: 0, usual }
    }

    /// Lets a call out, unless the circuit is open.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Pass> {
        let times = match self.standing {
            Standing::Closed => return Some(Pass { epoch: self.epoch, is_probe: false }),
            Standing::Open { until, times } if until <= now => times,
            Standing::Probing { since, times } if since + PROBE_LASTS <= now => times,
            Standing::Open { .. } | Standing::Probing { .. } => return None,
        };
        self.stands(Standing::Probing { since: now, times });
        Some(Pass { epoch: self.epoch, is_probe: true })
    }

    /// A call has ended that took so long.
    pub(crate) fn ended(&mut self, pass: Pass, shown: Shown, took: Duration, now: Instant) -> Option<Change> {
        if pass.epoch != self.epoch {
            return None;
        }
        match shown {
            Shown::Answers => self.answered(took, now),
            Shown::Fails => self.failed(now),
            // Only a call that had the usual time counts as late: a shorter deadline says nothing about the service.
            Shown::IsLate if took >= self.usual => self.failed(now),
            Shown::IsLate | Shown::Nothing => {
                // The next call finds out.
                if let Standing::Probing { times, .. } = self.standing {
                    self.stands(Standing::Open { until: now, times });
                }
                None
            }
        }
    }

    /// How it stands, in a word.
    pub(crate) fn state(&self) -> &'static str {
        match self.standing {
            Standing::Closed => "closed",
            Standing::Open { .. } => "open",
            Standing::Probing { .. } => "probing",
        }
    }

    fn answered(&mut self, took: Duration, now: Instant) -> Option<Change> {
        self.usual = took;
        if let Standing::Closed = self.standing {
            self.failures.answered(now);
            return None;
        }
        self.failures.forget();
        self.stands(Standing::Closed);
        Some(Change::Closed)
    }

    fn failed(&mut self, now: Instant) -> Option<Change> {
        let times = match self.standing {
            Standing::Closed if self.failures.failed(now) => 0,
            Standing::Closed => return None,
            Standing::Open { times, .. } | Standing::Probing { times, .. } => times,
        };
        let wait = doubled(FIRST, LONGEST, times);
        self.stands(Standing::Open { until: now + wait, times: times.saturating_add(1) });
        Some(if times == 0 { Change::Opened(wait) } else { Change::StaysOpen(wait) })
    }

    fn stands(&mut self, standing: Standing) {
        self.standing = standing;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// One that has opened just now, and when it lets a probe out at the latest.
    fn open(now: Instant) -> (Circuit, Instant) {
        let mut circuit = Circuit::new(Breaker::InARow(2), now);
        assert_eq!(fail(&mut circuit, now), None);
        let Some(Change::Opened(wait)) = fail(&mut circuit, now) else { panic!("{circuit:?}") };
        assert!(wait.mul_f64(1.0 / 1.2) <= FIRST && wait.mul_f64(1.0 / 0.8) >= FIRST, "{wait:?}");
        (circuit, now + wait)
    }

    fn end(circuit: &mut Circuit, now: Instant, shown: Shown) -> Option<Change> {
        let pass = circuit.admit(now).expect("it goes out");
        circuit.ended(pass, shown, MS, now)
    }

    fn fail(circuit: &mut Circuit, now: Instant) -> Option<Change> {
        end(circuit, now, Shown::Fails)
    }

    #[test]
    fn one_call_at_a_time_finds_out_whether_the_service_works_again() {
        let (mut circuit, later) = open(Instant::now());
        assert_eq!(circuit.admit(later - MS), None);
        let probe = circuit.admit(later).expect("it is time");
        assert!(probe.is_probe && circuit.admit(later).is_none());
        assert_eq!(circuit.ended(probe, Shown::Answers, MS, later), Some(Change::Closed));
        assert!(circuit.admit(later).is_some_and(|pass| !pass.is_probe));
        assert_eq!(fail(&mut circuit, later), None, "what was before is forgotten");
    }

    #[test]
    fn waits_double_up_to_ten_seconds_while_probes_fail_and_begin_anew_after_an_answer() {
        let (mut circuit, mut now) = open(Instant::now());
        for seconds in [2, 4, 8, 10, 10] {
            let Some(Change::StaysOpen(wait)) = fail(&mut circuit, now) else { panic!("{circuit:?}") };
            let nominal = Duration::from_secs(seconds);
            assert!((nominal.mul_f64(0.8)..=nominal.mul_f64(1.2)).contains(&wait), "{wait:?}, {seconds} s");
            now += wait;
        }
        assert_eq!(end(&mut circuit, now, Shown::Answers), Some(Change::Closed));
        fail(&mut circuit, now);
        assert!(matches!(fail(&mut circuit, now), Some(Change::Opened(wait)) if wait <= FIRST * 2));
    }

    #[test]
    fn a_probe_that_shows_nothing_makes_the_next_call_one() {
        let (mut circuit, now) = open(Instant::now());
        for _ in 0..3 {
            assert_eq!(end(&mut circuit, now, Shown::Nothing), None);
        }
        let endless = circuit.admit(now).expect("it is time");
        assert_eq!(circuit.admit(now + PROBE_LASTS - MS), None);
        let next = circuit.admit(now + PROBE_LASTS).expect("nobody waits for the other any more");
        assert_eq!(circuit.ended(endless, Shown::Fails, MS, now + PROBE_LASTS), None, "it is too late");
        let end = circuit.ended(next, Shown::Answers, MS, now + PROBE_LASTS);
        assert_eq!(end, Some(Change::Closed));
    }

    #[test]
    fn a_call_that_went_out_before_a_change_counts_no_more() {
        let now = Instant::now();
        let mut circuit = Circuit::new(Breaker::InARow(1), now);
        let [first, second, third] = [(); 3].map(|()| circuit.admit(now).expect("it is closed"));
        assert!(matches!(circuit.ended(first, Shown::Fails, MS, now), Some(Change::Opened(_))));
        assert_eq!(circuit.ended(second, Shown::Answers, MS, now), None);
        assert_eq!(end(&mut circuit, now + FIRST * 2, Shown::Answers), Some(Change::Closed));
        assert_eq!(circuit.ended(third, Shown::Fails, MS, now + FIRST * 2), None);
    }

    #[test]
    fn a_deadline_shorter_than_what_calls_take_shows_nothing() {
        let now = Instant::now();
        let mut circuit = Circuit::new(Breaker::InARow(1), now);
        let slow = circuit.admit(now).expect("it is closed");
        assert_eq!(circuit.ended(slow, Shown::Answers, MS * 100, now), None);
        for (took, opens) in [(MS * 99, false), (MS * 100, true)] {
            let pass = circuit.admit(now).expect("it is closed");
            assert_eq!(circuit.ended(pass, Shown::IsLate, took, now).is_some(), opens);
        }
    }
}
