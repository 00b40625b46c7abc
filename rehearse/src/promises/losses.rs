//! The connections that nodes have lost, as the attempts tell that follow them.

use std::sync::Arc;
use std::time::Duration;

use super::attempts::Attempts;
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
}

impl Losses {
    /// An attempt begins, the last of all from `host`, which was started at that time, to `callee`. If that had a
    /// connection there, it is lost. Of several, nobody tells which: the oldest is taken to be.
    pub(super) fn note(
        &mut self,
        attempts: &Attempts,
        (host, callee): (&Arc<str>, &Arc<str>),
        started: Duration,
    ) {
        let is_known = |attempt: u32| self.0.iter().any(|loss| loss.attempt == attempt);
        let mut known = attempts.between(host, callee);
        let Some(begun) = known.next_back() else { return };
        let mut made = known.filter(|other| other.spoken.is_some() && other.begun >= started);
        if let Some(oldest) = made.find(|other| !is_known(other.number)) {
            let (host, callee) = (Arc::clone(host), Arc::clone(callee));
            self.0.push(Loss { host, callee, attempt: oldest.number, followed_by: begun.number });
        }
    }

    /// Whether `host` has found a connection lost since it began the `attempt` to connect to `callee`: one to a host with a
    /// service of those that it calls there.
    pub(super) fn is_any_since(&self, setting: &Setting, host: &str, callee: &str, attempt: u32) -> bool {
        let mut here = self.0.iter().filter(|loss| *loss.host == *host && loss.followed_by > attempt);
        here.any(|loss| setting.are_alike(host, callee, &loss.callee))
    }
}
