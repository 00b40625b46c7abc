//! What must hold of connecting: it ends by itself, and there is no more of it than is needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Family, Invariant, Wants};

use super::attempts::{Attempt, Attempts, Told};
use super::deadlines::GRACE;
use super::faults::{Fault, Faults};
use super::names::{CONNECTING_ENDS_BY_ITSELF, ONE_CONNECTION};
use crate::facts::{Connection, ConnectionStep, NodeStarted};
use crate::setting::Setting;

/// The longest that connecting takes: gRPC's `MIN_CONNECT_TIMEOUT`.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(20);

/// So long after a name leads somewhere again it may still be taken not to: a name is asked again after ten seconds, by a call.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// An attempt to connect goes on whether or not the call that asked for it still waits, and has an outcome in time, with a
/// bound of its own for one that accepts and says nothing.
#[derive(Debug)]
pub(super) struct ConnectingEndsByItself {
    setting: Arc<Setting>,
    attempts: Attempts,
    faults: Faults,
    met: u64,
}

impl ConnectingEndsByItself {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (attempts, faults) = (Attempts::default(), Faults::default());
        Self { setting: Arc::clone(setting), attempts, faults, met: 0 }
    }

    /// An attempt is dropped by its own node before it has an outcome: that is right only when all time is over.
    fn drop_early(&self, attempt: &Attempt, at: Duration) -> Result<(), String> {
        let Attempt { host, callee, begun, connected, .. } = attempt;
        let due = connected.map_or(*begun + CONNECT_MAX, |connected| connected + self.setting.greeting);
        let leaves = |fault: &Fault| fault.family == Family::Drain && fault.is_felt((at, at), Duration::ZERO);
        if at + GRACE >= due || self.faults.on_host(host).any(leaves) {
            return Ok(());
        }
        let (after, whole) = ((at - *begun).as_millis(), (due - *begun).as_millis());
        Err(format!(
            "{host} gave up connecting to {callee} after {after} ms, before it had an outcome; expected it to go on for \
             {whole} ms, whoever still waits for it"
        ))
    }

    /// Whether all attempts that are still in the making may be so.
    fn judge(&self, now: Duration) -> Result<(), String> {
        let making = self.attempts.iter().filter(|attempt| attempt.is_in_the_making());
        let late = making.filter_map(|attempt| Some((attempt, self.due(attempt)?)));
        match late.into_iter().find(|(_, due)| now > *due) {
            None => Ok(()),
            Some((Attempt { host, callee, begun, connected, .. }, due)) => {
                let was =
                    if connected.is_some() { "was accepted and heard nothing" } else { "was not answered" };
                let (since, due) = ((now - *begun).as_millis(), (due - *begun).as_millis());
                Err(format!(
                    "{host} began to connect to {callee} {since} ms ago, {was}, and has not given up; expected that \
                     after {due} ms"
                ))
            }
        }
    }

    /// When an attempt must have an outcome. Of several connections to one host nobody tells which could not be made.
    fn due(&self, attempt: &Attempt) -> Option<Duration> {
        let Attempt { host, callee, begun, connected, .. } = attempt;
        let silent = connected.filter(|_| self.setting.lines(host, callee) == 1);
        let due = silent.map_or(*begun + CONNECT_MAX, |connected| connected + self.setting.greeting);
        let pauses = self.faults.on_host(host).filter(|fault| fault.family == Family::Pause);
        let awake =
            pauses.map(|pause| pause.until).try_fold(Duration::ZERO, |last, until| Some(last.max(until?)))?;
        Some(due.max(awake) + GRACE + self.setting.tick)
    }
}

impl Invariant for ConnectingEndsByItself {
    fn name(&self) -> &str {
        CONNECTING_ENDS_BY_ITSELF
    }

    fn wants(&self) -> Wants {
        Wants::events().needing::<Connection>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if self.attempts.note_failure(event)?.is_some() {
            return Ok(());
        }
        if let Some(Told { attempt, step }) = self.attempts.note(event) {
            let was_silent = attempt.spoken.is_none();
            self.met += u64::from(step == ConnectionStep::Spoken);
            if step == ConnectionStep::GivenUp
                || step == (ConnectionStep::Closed { by_other: false }) && was_silent
            {
                let number = attempt.number;
                let attempt = self.attempts.iter().find(|attempt| attempt.number == number);
                return attempt.map_or(Ok(()), |attempt| self.drop_early(attempt, event.at));
            }
        }
        self.judge(event.at)
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// A node connects where it has no connection, or one that it was told is over, and nowhere else.
/// Beside one that works it does so only where its callee lets that carry fewer calls than there are: no node does, which
/// lets each carry a thousand. It closes none that works.
#[derive(Debug)]
pub(super) struct OneConnection {
    setting: Arc<Setting>,
    attempts: Attempts,
    faults: Faults,
    /// The hosts that are nodes: what others say of a connection, as GOAWAY after a number of calls, nobody tells.
    nodes: BTreeSet<Arc<str>>,
    met: u64,
}

impl OneConnection {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (attempts, faults, nodes) = (Attempts::default(), Faults::default(), BTreeSet::new());
        Self { setting: Arc::clone(setting), attempts, faults, nodes, met: 0 }
    }

    /// A node has closed a connection: it lets go of none that works, as by forgetting it.
    fn closed(&self, attempt: &Attempt, now: Duration) -> Result<(), String> {
        let Attempt { host, callee, spoken, .. } = attempt;
        let is_unlisted = |fault: &Fault| {
            fault.family == Family::Unlisted && fault.is_felt((attempt.begun, now), FORGOTTEN)
        };
        let Some(spoken) =
            spoken.filter(|_| self.nodes.contains(callee) && self.setting.lines(host, callee) == 1)
        else {
            return Ok(());
        };
        if !self.is_sound(attempt, now) || self.faults.on_host(callee).any(is_unlisted) {
            return Ok(());
        }
        Err(format!(
            "{host} closed its connection to {callee} after {} ms; expected that it keeps it, since it works, neither of them \
             leaves, and the name of {callee} leads there",
            (now - spoken).as_millis()
        ))
    }

    /// Whether nothing has happened since an attempt was begun that could have ended it, or made it fail.
    fn is_sound(&self, attempt: &Attempt, now: Duration) -> bool {
        let Attempt { host, callee, begun, .. } = attempt;
        let mut on_way = self
            .faults
            .iter()
            .filter(|fault| fault.is_on(host) || fault.is_on(callee) || fault.is_between(host, callee));
        let after = |fault: &Fault| {
            fault.backlog().saturating_add(self.setting.found_dead() + self.setting.hop() * 2)
        };
        !on_way.any(|fault| fault.cuts_off() && fault.is_felt((*begun, now), after(fault)))
    }
}

impl Invariant for OneConnection {
    fn name(&self) -> &str {
        ONE_CONNECTION
    }

    fn wants(&self) -> Wants {
        Attempts::wants(Faults::wants())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        if event.told::<NodeStarted>().is_some() {
            self.nodes.insert(Arc::clone(&event.host));
        }
        if self.attempts.note_failure(event)?.is_some() {
            return Ok(());
        }
        let attempt = match self.attempts.note(event) {
            Some(Told { attempt, step: ConnectionStep::Begun }) => attempt,
            Some(Told { attempt, step: ConnectionStep::Closed { by_other: false } }) => {
                let number = attempt.number;
                let attempt = self.attempts.iter().find(|attempt| attempt.number == number);
                return attempt.map_or(Ok(()), |attempt| self.closed(attempt, event.at));
            }
            _ => return Ok(()),
        };
        let (host, callee, number) = (Arc::clone(&attempt.host), Arc::clone(&attempt.callee), attempt.number);
        if !self.nodes.contains(&callee) {
            return Ok(());
        }
        self.met += 1;
        let others = || self.attempts.between(&host, &callee).filter(|other| other.number != number);
        let making = others().filter(|other| other.is_in_the_making()).count();
        let open = others().filter(|other| other.is_open() && self.is_sound(other, event.at)).count();
        let most = self.setting.lines(&host, &callee).max(1);
        if making + open < most {
            return Ok(());
        }
        Err(format!(
            "{host} connects to {callee}, where {making} attempts are under way and {open} connections open that \
             nothing has disturbed; expected {most} at most"
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
