//! What a line is put together on. Each thread has its own, and keeps it from line to line.

use transport::cut::Head;

use super::clock::Clock;

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
}

impl Page {
    /// Empties the page for the next line.
    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.message.clear();
        self.fields.clear();
    }
}
