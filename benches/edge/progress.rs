//! One line that overwrites itself, for whoever waits in front of a terminal.

use std::io::{IsTerminal, Write, stderr};

#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { shown: stderr().is_terminal() }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.write(&format!("\r\x1b[K{text}"));
    }

    pub(crate) fn clear(&mut self) {
        self.write("\r\x1b[K");
    }

    fn write(&mut self, text: &str) {
        // A terminal that went away is no reason to stop measuring.
        self.shown = self.shown && write!(stderr(), "{text}").and_then(|()| stderr().flush()).is_ok();
    }
}
