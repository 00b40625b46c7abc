//! What is kept of all that happens: a number always, the whole list if it is wanted.

use std::time::Duration;

use crate::trace::event::Event;
use crate::trace::fingerprint::Fingerprint;

/// What to keep of a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing, and what the network does is not looked at: effective faults may go unnoticed, and the trace hash says
    /// nothing. It is there to be measured against.
    Nothing,
    /// The number that stands for the trace.
    Hash,
    /// The whole trace.
    Trace,
}

/// What is kept of a rehearsal so far.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The number, unless nothing is to be kept.
    fingerprint: Option<Fingerprint>,
    events: Option<Vec<Event>>,
    /// How many there were when a promise was broken: what is torn down then tells of itself, too.
    until_broken: Option<usize>,
}

/// By what sorts of events are told apart in the fingerprint.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sort {
    Log,
    Told,
    Announced,
    Frequent,
    Call,
}

impl Kept {
    pub(super) fn new(keep: Keep) -> Self {
        let fingerprint = (keep != Keep::Nothing).then(Fingerprint::default);
        Self { fingerprint, events: (keep == Keep::Trace).then(Vec::new), until_broken: None }
    }

    /// Whether anything is kept.
    pub(crate) fn is_hashed(&self) -> bool {
        self.fingerprint.is_some()
    }

    pub(super) fn has_events(&self) -> bool {
        self.events.is_some()
    }

    pub(super) fn push(&mut self, event: Event) {
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// The events from this number on; none if they are not kept.
    pub(crate) fn since(&self, number: usize) -> &[Event] {
        self.events.as_deref().and_then(|events| events.get(number..)).unwrap_or_default()
    }

    /// A promise was broken by now.
    pub(super) fn note_broken(&mut self) {
        self.until_broken.get_or_insert(self.events.as_ref().map_or(0, Vec::len));
    }

    /// Hashes when and where `event` happens; the fingerprint, for what else there is to hash.
    pub(super) fn stamp(&mut self, event: &Event, sort: Sort) -> Option<&mut Fingerprint> {
        let fingerprint = self.fingerprint.as_mut()?;
        fingerprint.bytes(event.host.as_bytes());
        Self::time(fingerprint, event.at, sort as u64);
        Some(fingerprint)
    }

    /// The same for what is no event unless it is kept: on which host, by its number.
    pub(super) fn stamp_at(
        &mut self,
        at: Duration,
        host: Option<usize>,
        sort: Sort,
    ) -> Option<&mut Fingerprint> {
        let fingerprint = self.fingerprint.as_mut()?;
        let host = host.map_or(u64::MAX, |host| host as u64);
        Self::time(fingerprint, at, (host << 8) | sort as u64);
        Some(fingerprint)
    }

    fn time(fingerprint: &mut Fingerprint, at: Duration, more: u64) {
        fingerprint.number(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        fingerprint.number(more);
    }

    /// The number that stands for the trace; 0 if nothing was kept.
    pub(crate) fn hash(&self) -> u64 {
        self.fingerprint.map_or(0, Fingerprint::value)
    }

    /// How many of the events happened until a promise was broken; all, if none was.
    pub(crate) fn until_broken(&self) -> usize {
        self.until_broken.unwrap_or_else(|| self.events.as_ref().map_or(0, Vec::len))
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events.unwrap_or_default()
    }
}
