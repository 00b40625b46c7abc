//! What must hold of the waits between attempts to connect: gRPC's backoff
//! (<https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md>).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Fault, FaultKind, Invariant, Wants, What};

use super::attempts::{Attempt, Attempts, Told};
use super::deadlines::GRACE;
use super::left_alone::LeftAlone;
use super::losses::Losses;
use super::names::BACKOFF_IS_KEPT;
use crate::facts::{ConnectionStep, NodeStarted};
use crate::setting::Setting;

/// A node that could not connect waits: a second at first, 1.6 times as long after each further failure in a row, two
/// minutes at most, each wait spread by a fifth; a success makes it begin anew. It does not try before the wait is over,
/// but where it has no connection to any host of the service, and has lost one since it tried last: once for each.
#[derive(Debug)]
pub(super) struct BackoffIsKept {
    setting: Arc<Setting>,
    attempts: Attempts,
    losses: Losses,
    /// The hosts that names did not lead to for a while: connections to them may live on, and take no new calls, and when a name
    /// leads there again, nobody remembers that they could not be reached.
    unlisted: BTreeSet<String>,
    waits: Vec<Waits>,
    starts: Vec<(Arc<str>, Duration)>,
    /// How much longer, or shorter, than the nominal wait each wait was.
    spreads: Vec<f64>,
    met: u64,
}

/// What is known of the waits of one host before it connects to another again.
#[derive(Debug)]
struct Waits {
    host: Arc<str>,
    callee: String,
    /// How many failures in a row each of its connections may have behind it.
    failures: Vec<u32>,
    /// The waits of those that are left alone.
    rests: Vec<Rest>,
    /// The last attempt that is known to have failed.
    last: Option<u32>,
    /// When the host last said that it could not connect.
    failed: Option<Duration>,
}

/// A wait after an attempt that failed.
#[derive(Debug)]
struct Rest {
    attempt: u32,
    /// What the connection would be for.
    service: String,
    until: Duration,
}

impl BackoffIsKept {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (attempts, losses, unlisted) = Default::default();
        let (setting, waits, starts, spreads) = (Arc::clone(setting), Vec::new(), Vec::new(), Vec::new());
        Self { setting, attempts, losses, unlisted, waits, starts, spreads, met: 0 }
    }

    /// A node could not connect.
    fn fail(&mut self, event: &Event, told: &LeftAlone<'_>) -> Result<(), String> {
        let Some(callee) = told.host() else { return Ok(()) };
        self.met += 1;
        let wait = millis(told.wait);
        let way = format!("{} could not connect to {callee} and waits {wait:.0} ms", event.host);
        let (number, spread) = failures_before(told.wait).ok_or_else(|| {
            format!("{way}; gRPC's waits are 1000 ms, 1600 ms, 2560 ms and so on up to 120000 ms, each within a fifth")
        })?;
        let attempt = self.failed(&event.host, &callee);
        // Each worker has one connection for a service to a callee, but to one of several connections. So where all of them wait,
        // one of those has tried again: nobody tells which, and it counts as the one that would wait longest.
        let may_be_forgotten = self.unlisted.contains(&callee);
        let may_be_several = self.setting.of_several_connections.contains(&callee);
        let most = if may_be_several { usize::MAX } else { self.setting.workers.into() };
        let waits = self.waits(&event.host, &callee);
        let of_service = waits.rests.iter().enumerate().filter(|(_, rest)| rest.service == told.callee);
        let of_service: Vec<_> = of_service.map(|(at, rest)| (rest.until, at)).collect();
        if of_service.len() >= most
            && let Some((_, longest)) = of_service.into_iter().max()
        {
            waits.rests.remove(longest);
        }
        let service = told.callee.to_owned();
        waits.rests.push(Rest { attempt, service, until: event.at + told.wait });
        waits.last = Some(attempt);
        waits.failed = Some(event.at);
        if may_be_forgotten && number == 1 {
            waits.failures.push(0);
        }
        let before = waits.failures.clone();
        let Some(known) = waits.failures.iter_mut().find(|known| number == (**known + 1).min(LAST)) else {
            return Err(format!(
                "{way}, as after {number} failures in a row; expected the wait after {} (a success since the last \
                 failure makes it begin anew)",
                listed(&before)
            ));
        };
        *known += 1;
        // Waits are told in nanoseconds: by chance two hardly ever agree in as many digits.
        if let Some(same) = self.spreads.iter().find(|known| (*known - spread).abs() < 3e-9) {
            return Err(format!(
                "{way}; another wait was {:.4} times its nominal time, too: expected waits that chance spreads by up \
                 to a fifth",
                same
            ));
        }
        self.spreads.push(spread);
        Ok(())
    }

    fn waits(&mut self, host: &Arc<str>, callee: &str) -> &mut Waits {
        let is_it = |waits: &Waits| waits.host == *host && waits.callee == callee;
        if let Some(known) = self.waits.iter().position(is_it) {
            return &mut self.waits[known];
        }
        let failures = vec![0; self.setting.lines(host, callee).max(1)];
        let (host, callee) = (Arc::clone(host), callee.to_owned());
        self.waits.push(Waits { host, callee, failures, rests: Vec::new(), last: None, failed: None });
        self.waits.last_mut().expect("one was just added")
    }

    /// The attempt of `host` that has failed: of those to which the callee said nothing, the first that is not known to have.
    fn failed(&self, host: &str, callee: &str) -> u32 {
        let known = self.waits.iter().find(|waits| *waits.host == *host && waits.callee == callee);
        let last = known.and_then(|waits| waits.last);
        let (mut silent, started) = (self.attempts.between(host, callee), self.started(host));
        let is_next =
            |attempt: &&Attempt| attempt.begun >= started && last.is_none_or(|last| attempt.number > last);
        let failed = silent.find(|attempt| attempt.spoken.is_none() && is_next(attempt));
        failed.map_or(0, |attempt| attempt.number)
    }

    /// When `host` was last started.
    fn started(&self, host: &str) -> Duration {
        let starts = self.starts.iter().filter(|(known, _)| **known == *host);
        starts.map(|(_, at)| *at).max().unwrap_or_default()
    }

    /// When the attempt before the last one was begun, if its callee has said nothing. Where there may be several connections,
    /// one that is still in the making beside the last has not failed.
    fn silent_before(&self, host: &Arc<str>, callee: &str) -> Option<Duration> {
        let may_be_beside = self.setting.of_several_connections.iter().any(|several| several == callee);
        let mut others = self.attempts.between(host, callee).rev().skip(1);
        let before = others.find(|other| !(may_be_beside && other.is_in_the_making()))?;
        (before.spoken.is_none() && before.begun >= self.started(host)).then_some(before.begun)
    }

    /// A node connects: at least one of its connections must neither be there nor be left alone.
    fn begin(&mut self, host: &Arc<str>, callee: &str, at: Duration) -> Result<(), String> {
        let now = self.attempts.between(host, callee);
        let making = now.filter(|attempt| attempt.is_in_the_making()).count() - 1;
        let lines = self.setting.lines(host, callee).max(1);
        let silent = self.silent_before(host, callee).filter(|_| lines == 1);
        let waits = self.waits(host, callee);
        if let Some(begun) = silent.filter(|begun| waits.failed.is_none_or(|failed| failed < *begun)) {
            let ago = (at - begun).as_millis();
            return Err(format!(
                "{host} connects to {callee} again, which said nothing on the connection that was begun {ago} ms ago; \
                 expected that such a one counts as failed, and a wait after it"
            ));
        }
        waits.rests.retain(|rest| rest.until > at + GRACE);
        let resting = waits.rests.len();
        let may_begin = resting == 0 || resting + making < lines || self.unlisted.contains(callee);
        if may_begin || self.ends_early(host, callee, at) {
            return Ok(());
        }
        let ends = self.waits(host, callee).rests.iter().map(|rest| rest.until).min();
        let left = millis(ends.unwrap_or(at).saturating_sub(at));
        Err(format!(
            "{host} connects to {callee} again {left:.0} ms before its wait is over; expected that it waits, since it has lost no \
             connection to the service after the attempt that failed (other attempts under way: {making}; connections that \
             may be: {lines})"
        ))
    }

    /// Whether a node has lost all connections to the service since it tried the callee last; that wait is over then.
    fn ends_early(&mut self, host: &Arc<str>, callee: &str, at: Duration) -> bool {
        let Self { setting, losses, attempts, .. } = self;
        let begun = |number| {
            attempts.iter().find(|attempt| attempt.number == number).map_or(at, |attempt| attempt.begun)
        };
        let has_lost = |rest: &Rest| {
            losses.is_any_since(setting, attempts, (host, callee), (rest.attempt, begun(rest.attempt)))
        };
        let waits = self.waits.iter_mut().find(|waits| waits.host == *host && waits.callee == callee);
        let Some(waits) = waits else { return false };
        // Nobody tells which of its workers has lost it: it counts as the one that would wait longest.
        let ended = waits.rests.iter().enumerate().filter(|(_, rest)| has_lost(rest));
        let Some((ends, _)) = ended.max_by_key(|(_, rest)| rest.until) else { return false };
        waits.rests.remove(ends);
        !self.is_connected(host, callee, at)
    }

    /// Whether `host` has a connection that takes calls to another host of what it calls at `callee`. Where it may have
    /// several to one, nobody tells what each is for.
    fn is_connected(&self, host: &str, callee: &str, at: Duration) -> bool {
        let mut seen = BTreeSet::from([callee]);
        let newest_first = self.attempts.of(host).rev();
        let mut last_of_each = newest_first.filter(|attempt| seen.insert(&attempt.callee));
        last_of_each.any(|attempt| {
            let other = &*attempt.callee;
            attempt.is_open()
                && attempt.spoken.is_some_and(|spoken| spoken + GRACE < at)
                && self.setting.are_alike(host, callee, other)
                && self.setting.lines(host, other) == 1
                && !self.unlisted.contains(other)
        })
    }

    /// The callee has spoken: that connection has no failure behind it. Of several, it may be any.
    fn succeed(&mut self, host: &Arc<str>, callee: &str) {
        let lines = self.setting.lines(host, callee).max(1);
        let waits = self.waits(host, callee);
        if waits.failures.len() == 1 {
            waits.failures.clear();
        }
        if waits.failures.iter().filter(|failures| **failures == 0).count() < lines {
            waits.failures.push(0);
        }
    }
}

impl Invariant for BackoffIsKept {
    fn name(&self) -> &str {
        BACKOFF_IS_KEPT
    }

    fn wants(&self) -> Wants {
        Attempts::wants(Wants::nothing())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if let What::FaultBegins { fault: Fault { what: FaultKind::Unlisted { host }, .. }, .. } = &event.what
        {
            self.unlisted.insert(host.clone());
        }
        if event.told::<NodeStarted>().is_some() {
            self.waits.retain(|waits| waits.host != event.host);
            self.starts.push((Arc::clone(&event.host), event.at));
        }
        if let Some(told) = self.attempts.note_failure(event)? {
            return self.fail(event, &told);
        }
        let Some(Told { attempt, step }) = self.attempts.note(event) else { return Ok(()) };
        let (host, callee, is_open) =
            (Arc::clone(&attempt.host), Arc::clone(&attempt.callee), attempt.is_open());
        match step {
            ConnectionStep::Begun => {
                let started = self.started(&host);
                let lines = self.setting.lines(&host, &callee).max(1);
                self.losses.note(&self.attempts, (&host, &callee), started, lines);
                self.begin(&host, &callee, event.at)
            }
            ConnectionStep::Spoken if is_open => {
                self.succeed(&host, &callee);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// After so many failures waits grow no more, or hardly: 110 s, then 120 s.
const LAST: u32 = 11;

/// After how many failures in a row a wait is as long as that, and how many times the nominal one it is. The ranges of
/// two waits do not touch.
fn failures_before(wait: Duration) -> Option<(u32, f64)> {
    (1..=LAST).find_map(|failures| {
        let spread = wait.as_secs_f64() / 1.6_f64.powi(failures.cast_signed() - 1);
        // A number in a log line may be rounded.
        let most = if failures == LAST { 1.32 } else { 1.201 };
        (0.799..=most).contains(&spread).then_some((failures, spread))
    })
}

fn listed(failures: &[u32]) -> String {
    let numbers: Vec<_> = failures.iter().map(|failures| (failures + 1).to_string()).collect();
    numbers.join(" or ")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_tells_how_many_failures_went_before() {
        let before = |ms| failures_before(Duration::from_millis(ms)).map(|(failures, _)| failures);
        assert_eq!(
            [before(800), before(1200), before(1300), before(2560)],
            [Some(1), Some(1), Some(2), Some(3)]
        );
        assert_eq!([before(700), before(1240), before(150_000)], [None, None, None]);
        assert_eq!(before(120_000), Some(LAST));
    }
}
