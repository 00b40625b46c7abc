//! Which lines a node logs, and what they look like.

use std::cell::RefCell;
use std::fmt;
use std::time::SystemTime;

use tracing::Event;
use tracing_subscriber::filter::Targets;

use super::page::{Page, Write};
use super::{json, text};
use crate::config::{Config, LogFormat};

/// Which lines a node logs, and what they look like: what its configuration says of that.
#[derive(Clone)]
pub struct LogStyle {
    pub(super) filter: Targets,
    pub(super) write: Write,
}

thread_local! {
    /// As a process has one for each of its threads, kept from line to line.
    static PAGE: RefCell<Page> = RefCell::default();
}

impl LogStyle {
    /// The style that `config` says, for a log that goes to a terminal or not.
    ///
    /// # Panics
    /// When the filter of `config` is none: one that was read is checked.
    #[must_use]
    pub fn of(config: &Config, is_terminal: bool) -> Self {
        let filter = config.log.parse().expect("the filter was checked with the configuration");
        let is_json = match config.log_format {
            LogFormat::Auto => !is_terminal,
            LogFormat::Json => true,
            LogFormat::Text => false,
        };
        Self { filter, write: if is_json { json::write } else { text::write } }
    }

    /// The line of an event that happens at `now`, with its end; none if it is not to be logged. For rehearsals: what a
    /// process logs goes to its own buffers.
    #[must_use]
    pub fn line(&self, event: &Event<'_>, now: SystemTime) -> Option<String> {
        let metadata = event.metadata();
        if !self.filter.would_enable(metadata.target(), metadata.level()) {
            return None;
        }
        let line = |page: &RefCell<Page>| {
            let mut page = page.borrow_mut();
            String::from_utf8_lossy(page.line_of(event, now, self.write)).into_owned()
        };
        Some(PAGE.with(line))
    }
}

impl fmt::Debug for LogStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStyle").field("filter", &self.filter.to_string()).finish_non_exhaustive()
    }
}
