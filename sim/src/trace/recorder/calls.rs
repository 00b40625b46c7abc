//! The calls of clients: all that were made, and which of them wait for their replies.

use std::time::Duration;

use crate::call::{CallRecord, Reply};

/// All calls so far.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    all: Vec<CallRecord>,
    /// Indices into `all` of those that wait for a reply.
    in_flight: Vec<usize>,
}

impl Calls {
    /// Adds a call that waits for its reply; returns its number.
    pub(super) fn start(&mut self, call: CallRecord) -> usize {
        let number = self.all.len();
        self.all.push(call);
        self.in_flight.push(number);
        number
    }

    /// A call has its reply.
    pub(super) fn end(&mut self, number: usize, at: Duration, reply: Reply) -> &CallRecord {
        self.in_flight.retain(|other| *other != number);
        let call = &mut self.all[number];
        call.ended = Some(at);
        call.reply = Some(reply);
        call
    }

    /// A fault begins that all calls in flight may feel.
    pub(super) fn note_fault(&mut self, name: &'static str) {
        for call in &self.in_flight {
            self.all[*call].faults.push(name);
        }
    }

    /// All calls, in the order in which they began.
    pub(crate) fn all(&self) -> &[CallRecord] {
        &self.all
    }

    pub(crate) fn into_all(self) -> Vec<CallRecord> {
        self.all
    }

    /// Those that wait for a reply.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &CallRecord> {
        self.in_flight.iter().map(|number| &self.all[*number])
    }

    /// Whether none waits for a reply.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// When the last call began.
    pub(crate) fn last_start(&self) -> Duration {
        self.all.last().map(|call| call.started).unwrap_or_default()
    }
}
