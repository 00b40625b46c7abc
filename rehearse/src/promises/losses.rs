//! The connections that nodes have lost, as the attempts tell that follow them.

use std::sync::Arc;
use std::time::Duration;

use super::attempts::{Attempt, Attempts};
use crate::setting::Setting;

/// All losses so far.
#[derive(Debug, Default)]
pub(super) struct Losses(Vec<Loss>);

/// A connection that was made and lost.
#[derive(Debug)]
struct Loss {
    host: Arc<str>,
    callee: Arc<str>,
    /// The attempt that it came of.
    attempt: u32,
    /// The attempt to connect again: with that its node shows that it knows.
    followed_by: u32,
    /// Whether its end was told, or its node makes more connections than it may have.
    is_sure: bool,
    /// Whether it had ended when its node connected again; if not, it took no more calls.
    has_ended: bool,
}

impl Losses {
    /// An attempt begins, the last of all from `host`, which was started at that time, to `callee`, where it may have as many
    /// connections as `lines`: one that it had there may be lost.
    pub(super) fn note(
        &mut self,
        attempts: &Attempts,
        (host, callee): (&Arc<str>, &Arc<str>),
        started: Duration,
        lines: usize,
    ) {
        let mut known = attempts.between(host, callee);
        let Some(begun) = known.next_back() else { return };
        let others: Vec<_> =
            known.filter(|other| other.begun >= started && !self.is_known(other, true)).collect();
        let alive = others.iter().filter(|other| other.is_open() || other.is_in_the_making()).count();
        let mut made = others.into_iter().filter(|other| other.spoken.is_some());
        let sure = made.clone().find(|other| !other.is_open() || alive >= lines);
        let is_sure = sure.is_some();
        // Else the attempt may be the first of another line, or one took no more calls.
        let lost = sure.or_else(|| made.find(|other| !self.is_known(other, is_sure)));
        if let Some(lost) = lost {
            let (host, callee) = (Arc::clone(host), Arc::clone(callee));
            let (attempt, has_ended) = (lost.number, !lost.is_open());
            self.0.push(Loss { host, callee, attempt, followed_by: begun.number, is_sure, has_ended });
        }
    }

    fn is_known(&self, attempt: &Attempt, is_sure: bool) -> bool {
        self.0.iter().any(|loss| loss.attempt == attempt.number && loss.is_sure == is_sure)
    }

    /// Whether `host` has lost a connection, or found that one takes no more calls, since it began the `attempt` to connect to
    /// `callee`, at that time: one to a host with a service of those that it calls there.
    pub(super) fn is_any_since(
        &self,
        setting: &Setting,
        attempts: &Attempts,
        (host, callee): (&str, &str),
        (attempt, begun): (u32, Duration),
    ) -> bool {
        let made = attempts.of(host).filter(|known| known.spoken.is_some());
        let mut ended = made.filter(|known| known.ended.is_some_and(|ended| ended >= begun));
        let here = self.0.iter().filter(|loss| *loss.host == *host);
        let mut used_up = here.filter(|loss| !loss.has_ended && loss.followed_by > attempt);
        ended.any(|known| setting.are_alike(host, callee, &known.callee))
            || used_up.any(|loss| setting.are_alike(host, callee, &loss.callee))
    }
}
