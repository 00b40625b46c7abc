//! A node that is whole has nothing to report as an error, whatever the network does.

use sim::{Event, Invariant, Level, Wants};

/// No line is an error.
#[derive(Debug, Default)]
pub(super) struct NothingIsAnError {
    met: u64,
}

impl Invariant for NothingIsAnError {
    fn name(&self) -> &str {
        "no line of a process is an error"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(line) = event.line() else { return Ok(()) };
        self.met += 1;
        if line.level == Level::ERROR { Err(format!("{event}")) } else { Ok(()) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
