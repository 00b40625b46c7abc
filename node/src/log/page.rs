//! What a line is put together on. Each thread has its own, and keeps it from line to line.

use std::time::SystemTime;

use tracing::Event;
use tracing::callsite::Identifier;
use transport::cut::Head;

use super::clock::Clock;

/// Writes an event that happens at a time to an empty page.
pub(super) type Write = fn(&Event<'_>, SystemTime, &mut Page);

#[derive(Debug, Default)]
pub(super) struct Page {
    /// The whole line.
    pub(super) line: Vec<u8>,
    /// The message of the event, in the line's own form.
    pub(super) message: Vec<u8>,
    /// Its other fields.
    pub(super) fields: Vec<u8>,
    /// What only knows how to display itself.
    pub(super) head: Head,
    pub(super) clock: Clock,
    /// As many as there are places in the code that log here. They are few, and found sooner than by a hash.
    pub(super) sites: Vec<Site>,
}

/// What all lines of one place in the code have in common.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) place: Identifier,
    /// What stands between time and message.
    pub(super) head: Vec<u8>,
    /// What stands before the value of each field, in the order of the fields.
    pub(super) keys: Vec<Vec<u8>>,
}

impl Page {
    /// The line of an event that happens at `now`, in place of the one before.
    pub(super) fn line_of(&mut self, event: &Event<'_>, now: SystemTime, write: Write) -> &[u8] {
        self.line.clear();
        self.message.clear();
        self.fields.clear();
        write(event, now, self);
        &self.line
    }
}
