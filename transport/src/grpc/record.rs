//! What the calls of one endpoint have shown: how long it takes, and whether it fails call after call.
//!
//! It knows no connection and no other endpoint. The mean is linkerd's peak-EWMA: a call that took longer counts at once,
//! shorter ones pull it down over some ten seconds.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff;

/// In this time the weight of what was seen falls to 1/e.
const DECAY: Duration = Duration::from_secs(10);

/// What calls count as taking after a failed one, in seconds, so that an endpoint which fails at once does not look quick.
const PENALTY: f64 = 5.0;

/// For how long they do. linkerd takes the penalty for a sample of its mean, from which it fades in some 70 s where calls
/// take milliseconds: long after the endpoint may be sound again.
const PENALTY_LASTS: Duration = Duration::from_secs(1);

/// The longest that a callee's own wish to be left alone counts.
const PUSHBACK_MAX: Duration = Duration::from_secs(60);

/// So many failures in a row make an endpoint an outlier. A rate over a window is not needed beside it: who fails now and
/// then is slow for a second each time, and is asked little for that.
const FAILURES_IN_A_ROW: u32 = 5;

/// What a call has shown of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers, whatever it said.
    Sound,
    /// A stream has begun well: it answers, and may break yet.
    Begun,
    /// A stream that had begun has ended well, or was wanted no longer, or has lasted.
    EndedWell,
    /// It has no room. It is asked less, and never ejected for that: the others would get its calls and be full next.
    Full(Option<Duration>),
    /// It has refused the call unread, for it drains or has no room: no answer, and no failure either.
    Refused,
    /// It cannot answer, or the connection broke.
    Failed(Option<Duration>),
    /// The deadline passed before its answer came.
    Late,
}

/// The record of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// What a call takes, in seconds, as of then; none where nothing is known.
    mean: Option<(f64, Instant)>,
    /// What the last call took that was answered.
    usual: Duration,
    /// Until when it pays for a failure.
    penalty: Option<Instant>,
    /// Failures in a row. A stream counts by its end.
    failures: u32,
    /// How often it was ejected in a row, and when it was last.
    ejections: u32,
    ejected_at: Option<Instant>,
    ejected: Option<Ejected>,
}

#[derive(Debug)]
struct Ejected {
    /// When a call may try it.
    until: Instant,
    /// Whether a call tries it now.
    is_tried: bool,
}

/// What is known of an endpoint at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    /// What a call takes, in seconds.
    pub(super) mean: Option<f64>,
    /// Whether it pays for a failure.
    pub(super) pays: bool,
    /// Whether it fails call after call.
    pub(super) is_failing: bool,
    pub(super) is_ejected: bool,
    /// Whether it is time to try whether it is sound again.
    pub(super) is_due: bool,
}

impl Record {
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let is_due = |ejected: &Ejected| !ejected.is_tried && ejected.until <= now;
        let pays = self.penalty.is_some_and(|until| until > now);
        Standing {
            mean: if pays { Some(PENALTY) } else { self.mean_at(now) },
            pays,
            is_failing: self.failures >= FAILURES_IN_A_ROW,
            is_ejected: self.ejected.is_some(),
            is_due: self.ejected.as_ref().is_some_and(is_due),
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.is_some()
    }

    /// A call has taken so long without an answer, or has got one after so long.
    pub(super) fn took(&mut self, time: Duration, now: Instant) {
        let time = time.as_secs_f64();
        let mean = match self.mean {
            Some((mean, _)) if mean < time => time,
            Some((mean, at)) => {
                let weight = weight(now - at);
                mean * weight + time * (1.0 - weight)
            }
            None => time,
        };
        self.mean = Some((mean, now));
    }

    /// A call that took longer than others do was given up by its caller.
    pub(super) fn given_up(&mut self, after: Duration, now: Instant) {
        if self.mean_at(now).is_some_and(|mean| mean < after.as_secs_f64()) {
            self.took(after, now);
        }
    }

    /// A call that was sent then was answered after so long, or the stream has begun that is its answer.
    fn answered(&mut self, sent: Instant, after: Duration, now: Instant) {
        self.usual = after;
        if self.end_ejection(sent) {
            (self.mean, self.penalty) = (None, None);
        }
        self.took(after, now);
    }

    /// A call that was sent then got an answer: that ends an ejection. A call that was sent before the ejection shows nothing
    /// about the time after it.
    fn end_ejection(&mut self, sent: Instant) -> bool {
        self.ejected.take_if(|_| self.ejected_at <= Some(sent)).is_some()
    }

    /// It has done what a call that was sent then wanted, so that it has not failed in a row.
    fn works(&mut self, sent: Instant) {
        self.failures = 0;
        if self.ejected_at <= Some(sent) {
            self.ejections = 0;
        }
    }

    /// A call that was sent then has shown this after so long; whether it is one failure too many.
    pub(super) fn showed(&mut self, verdict: Verdict, sent: Instant, after: Duration, now: Instant) -> bool {
        let (pushback, counts) = match verdict {
            Verdict::Sound => {
                self.answered(sent, after, now);
                self.works(sent);
                return false;
            }
            Verdict::Begun => {
                self.answered(sent, after, now);
                return false;
            }
            Verdict::EndedWell => {
                if self.ejected_at <= Some(sent) {
                    self.works(sent);
                }
                return false;
            }
            Verdict::Full(pushback) => {
                // It is full, but it answers.
                if self.end_ejection(sent) {
                    self.ejections = 0;
                }
                (pushback, false)
            }
            Verdict::Refused => (None, false),
            Verdict::Failed(pushback) => (pushback, true),
            // The deadline was shorter than a call usually takes here: that it passed says nothing about the endpoint.
            Verdict::Late if after < self.usual => return false,
            Verdict::Late => (None, true),
        };
        self.penalty = Some(now + pushback.unwrap_or(PENALTY_LASTS).min(PUSHBACK_MAX));
        self.failures = self.failures.saturating_add(u32::from(counts));
        counts && self.failures >= FAILURES_IN_A_ROW && self.ejected.is_none()
    }

    /// Leaves the endpoint out for some time, which it tells; `chance` is in 0..1.
    pub(super) fn eject(&mut self, now: Instant, chance: f64) -> Duration {
        self.ejections = self.ejections.saturating_add(1);
        let wait = backoff::wait(self.ejections, chance);
        self.ejected_at = Some(now);
        self.ejected = Some(Ejected { until: now + wait, is_tried: false });
        wait
    }

    /// A call tries it.
    pub(super) fn try_it(&mut self) {
        if let Some(ejected) = &mut self.ejected {
            ejected.is_tried = true;
        }
    }

    /// The call that tried it has ended, and shown nothing.
    pub(super) fn not_tried(&mut self) {
        if let Some(ejected) = &mut self.ejected {
            ejected.is_tried = false;
        }
    }

    /// What was known of the process at the other end of a connection that is no more.
    pub(super) fn forget_mean(&mut self) {
        self.mean = None;
    }

    /// What is not confirmed counts ever less, so that who was slow once is asked again.
    fn mean_at(&self, now: Instant) -> Option<f64> {
        self.mean.map(|(mean, at)| mean * weight(now - at))
    }
}

fn weight(age: Duration) -> f64 {
    (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn failing(times: u32, now: Instant) -> (Record, bool) {
        let mut record = Record::default();
        let outcomes = (0..times).map(|_| record.showed(Verdict::Failed(None), now, SOON, now));
        let last = outcomes.last().unwrap_or_default();
        (record, last)
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_over_ten_seconds() {
        let (mut record, now) = (Record::default(), Instant::now());
        record.took(SOON, now);
        record.took(SOON * 10, now);
        assert_eq!(record.standing(now).mean, Some(0.1));
        record.took(SOON, now + DECAY);
        let mean = record.standing(now + DECAY).mean.expect("it is known");
        assert!((0.04..0.05).contains(&mean), "0.1 / e and 0.01 * (1 - 1 / e): {mean}");
    }

    #[test]
    fn what_is_not_confirmed_counts_ever_less() {
        let (mut record, now) = (Record::default(), Instant::now());
        record.took(SOON * 10, now);
        let mean = record.standing(now + DECAY).mean.expect("it is known");
        assert!((0.036..0.038).contains(&mean), "0.1 / e: {mean}");
    }

    #[test]
    fn a_failure_makes_slow_for_a_second_or_for_as_long_as_the_callee_says() {
        let (mut record, now) = (Record::default(), Instant::now());
        let mut paid_for = |verdict| {
            record.showed(verdict, now, SOON, now);
            let pays = |after: &u64| record.standing(now + Duration::from_secs(*after)).mean.is_some();
            (0..100).take_while(pays).count()
        };
        assert_eq!(paid_for(Verdict::Failed(None)), 1);
        assert_eq!(paid_for(Verdict::Full(Some(Duration::from_secs(2)))), 2);
        assert_eq!(paid_for(Verdict::Failed(Some(Duration::MAX))), 60);
    }

    #[test]
    fn the_fifth_failure_in_a_row_is_one_too_many() {
        let now = Instant::now();
        assert!(!failing(4, now).1);
        assert!(failing(5, now).1);
        let (mut record, _) = failing(4, now);
        record.showed(Verdict::Sound, now, SOON, now);
        assert!(!record.showed(Verdict::Failed(None), now, SOON, now), "an answer lies between");
    }

    #[test]
    fn a_stream_that_begins_ends_an_ejection_and_counts_as_a_success_only_when_it_has_ended_well() {
        let now = Instant::now();
        let (mut record, _) = failing(4, now);
        record.showed(Verdict::Begun, now, SOON, now);
        assert!(record.showed(Verdict::Failed(None), now, SOON, now), "it broke");
        record.eject(now, 0.5);
        record.showed(Verdict::Begun, now, SOON, now);
        assert!(!record.is_ejected());
        assert!(record.showed(Verdict::Failed(None), now, SOON, now), "it broke again");
        assert_eq!(record.eject(now, 0.5), Duration::from_millis(1600));
        record.showed(Verdict::Begun, now, SOON, now);
        record.showed(Verdict::EndedWell, now, SOON, now);
        assert!(!record.showed(Verdict::Failed(None), now, SOON, now), "a success lies between");
        assert_eq!(record.eject(now, 0.5), Duration::from_secs(1));
    }

    #[test]
    fn who_has_no_room_is_never_one_too_many() {
        let (mut record, now) = (Record::default(), Instant::now());
        assert!((0..100).all(|_| !record.showed(Verdict::Full(None), now, SOON, now)));
    }

    #[test]
    fn who_has_no_room_answers_and_so_is_no_outlier_any_more_unless_the_call_was_sent_before() {
        let (now, later) = (Instant::now(), Instant::now() + SOON);
        let (mut record, _) = failing(5, now);
        record.eject(later, 0.5);
        record.showed(Verdict::Full(None), now, SOON, later);
        assert!(record.is_ejected());
        record.showed(Verdict::Full(None), later, SOON, later);
        assert!(!record.is_ejected());
    }

    #[test]
    fn who_refuses_calls_unread_is_asked_less_and_has_not_answered() {
        let now = Instant::now();
        let (mut record, _) = failing(5, now);
        record.eject(now, 0.5);
        assert!(!record.showed(Verdict::Refused, now, SOON, now));
        assert!(record.is_ejected() && record.standing(now).pays);
        let mut sound = Record::default();
        assert!((0..100).all(|_| !sound.showed(Verdict::Refused, now, SOON, now)));
    }

    #[test]
    fn a_deadline_shorter_than_what_calls_take_shows_nothing() {
        let (mut record, now) = (Record::default(), Instant::now());
        record.showed(Verdict::Sound, now, SOON, now);
        assert!((0..100).all(|_| !record.showed(Verdict::Late, now, SOON / 2, now)));
        assert_eq!(record.standing(now).mean, Some(0.01));
        assert!((0..5).any(|_| record.showed(Verdict::Late, now, SOON * 2, now)));
    }

    #[test]
    fn an_ejected_endpoint_is_tried_once_at_a_time_and_is_left_out_longer_each_time() {
        let now = Instant::now();
        let (mut record, _) = failing(5, now);
        assert_eq!(record.eject(now, 0.5), Duration::from_secs(1));
        assert!(!record.standing(now).is_due);
        let later = now + Duration::from_secs(1);
        assert!(record.standing(later).is_due);
        record.try_it();
        assert!(!record.standing(later).is_due, "one call tries it");
        assert_eq!(record.eject(later, 0.5), Duration::from_millis(1600));
        record.showed(Verdict::Sound, now, SOON, later);
        assert!(record.is_ejected(), "that call was sent before");
        record.showed(Verdict::Sound, later, SOON, later);
        assert!(!record.is_ejected());
        assert_eq!(record.standing(later).mean, Some(0.01), "what it did before is forgotten");
    }
}
