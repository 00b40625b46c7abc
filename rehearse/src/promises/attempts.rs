//! The connections that nodes make, from the attempt to the end, by the nodes' own word.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Wants};

use super::left_alone::{LeftAlone, Why};
use crate::facts::{Connection, ConnectionStep, NodeStarted};
use crate::hooks::host_of;

/// All attempts of nodes to connect, with what became of them.
#[derive(Debug, Default)]
pub(super) struct Attempts(Vec<Attempt>);

/// An attempt of a node to connect, or a connection of it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    /// Who connects.
    pub(super) host: Arc<str>,
    /// To where.
    pub(super) callee: Arc<str>,
    pub(super) begun: Duration,
    /// When the callee accepted.
    pub(super) connected: Option<Duration>,
    /// When the first bytes of its HTTP/2 were read.
    pub(super) spoken: Option<Duration>,
    /// When there was nothing left of it, or its node said that it could not connect.
    pub(super) ended: Option<Duration>,
    /// Whether it has failed before its callee said anything, and its node is still to say so.
    is_untold: bool,
}

/// What an event told of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) step: ConnectionStep,
}

impl Attempts {
    /// What it must be told of, besides the others.
    pub(super) fn wants(others: Wants) -> Wants {
        others.lines().fact::<NodeStarted>().fact::<Connection>()
    }

    /// Takes note of `event`; the attempt that it is about, if it is about one.
    pub(super) fn note(&mut self, event: &Event) -> Option<Told<'_>> {
        if event.request_id.is_some() {
            return None;
        }
        if event.host.is_empty() {
            // The last word of a host that is taken down.
            let Connection { attempt, step, .. } = event.told()?;
            let gone = self.0.iter_mut().find(|known| known.number == *attempt)?;
            gone.step(*step, event.at);
            return None;
        }
        if event.told::<NodeStarted>().is_some() {
            let here = self.0.iter_mut().filter(|attempt| attempt.host == event.host);
            here.for_each(|attempt| attempt.ended = attempt.ended.or(Some(event.at)));
        }
        let Connection { attempt: number, address, step } = event.told()?;
        if *step == ConnectionStep::Begun {
            let (host, callee) = (Arc::clone(&event.host), host_of(address).into());
            let (connected, spoken, ended) = (None, None, None);
            let begun = event.at;
            let is_untold = false;
            self.0.push(Attempt {
                number: *number,
                host,
                callee,
                begun,
                connected,
                spoken,
                ended,
                is_untold,
            });
        }
        let attempt = self.0.iter_mut().rev().find(|known| known.number == *number)?;
        attempt.step(*step, event.at);
        Some(Told { attempt, step: *step })
    }

    /// Takes note of `event`, if it is the line of a node that could not connect: it is about an attempt that has failed in
    /// this moment, or the first that was still silent, which is at its end.
    ///
    /// # Errors
    /// When the line does not say what it must.
    pub(super) fn note_failure<'a>(&mut self, event: &'a Event) -> Result<Option<LeftAlone<'a>>, String> {
        let told = LeftAlone::read(event)?.filter(|told| told.why == Why::CannotConnect);
        let Some(told) = told else { return Ok(None) };
        let callee = told.host().unwrap_or_default();
        let there = |attempt: &&mut Attempt| attempt.is_between(&event.host, &callee);
        let has_failed = |attempt: &Attempt| attempt.is_untold && attempt.ended == Some(event.at);
        // Two services may be at one address, with a connection each.
        if let Some(failed) = self.0.iter_mut().filter(there).find(|attempt| has_failed(attempt)) {
            failed.is_untold = false;
        } else if let Some(silent) =
            self.0.iter_mut().filter(there).find(|attempt| attempt.is_in_the_making())
        {
            silent.ended = Some(event.at);
        }
        Ok(Some(told))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter()
    }

    /// Those from `host`.
    pub(super) fn of(&self, host: &str) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.0.iter().filter(move |attempt| *attempt.host == *host)
    }

    /// Those from `host` to `callee`.
    pub(super) fn between(&self, host: &str, callee: &str) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.0.iter().filter(move |attempt| attempt.is_between(host, callee))
    }
}

impl Attempt {
    fn step(&mut self, step: ConnectionStep, at: Duration) {
        match step {
            ConnectionStep::Begun => {}
            ConnectionStep::Connected => self.connected = Some(at),
            // Words may still come after it was given up.
            ConnectionStep::Spoken => self.spoken = self.spoken.or(Some(at).filter(|_| self.ended.is_none())),
            ConnectionStep::Failed(_) | ConnectionStep::GivenUp | ConnectionStep::Closed { .. } => {
                self.is_untold |= self.is_in_the_making();
                self.ended = self.ended.or(Some(at));
            }
        }
    }

    fn is_between(&self, host: &str, callee: &str) -> bool {
        *self.host == *host && *self.callee == *callee
    }

    /// Whether nobody knows yet what will become of it.
    pub(super) fn is_in_the_making(&self) -> bool {
        self.spoken.is_none() && self.ended.is_none()
    }

    /// Whether it could carry calls, by all that its node was told.
    pub(super) fn is_open(&self) -> bool {
        self.spoken.is_some() && self.ended.is_none()
    }

    /// Whether it was in the making at some time between the two.
    pub(super) fn was_in_the_making(&self, (from, to): (Duration, Duration)) -> bool {
        let settled = self.spoken.into_iter().chain(self.ended).min();
        self.begun <= to && settled.is_none_or(|settled| settled >= from)
    }
}
