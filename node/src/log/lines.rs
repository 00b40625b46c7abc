//! From an event to a line in the buffer of its thread.

use std::cell::RefCell;
use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::buffers::{Buffers, Chunk, Own};
use super::page::{Page, Write};
use crate::wall_clock::wall_clock;

/// Makes a line of each event.
pub(super) struct Lines {
    pub(super) write: Write,
    pub(super) buffers: Arc<Buffers>,
}

/// What a thread keeps from line to line.
#[derive(Default)]
struct Here {
    page: Page,
    own: Option<Own>,
}

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_written = HERE.try_with(|here| match here.try_borrow_mut() {
            Ok(mut here) => self.write(event, &mut here),
            // A value logged a line of its own while it was displayed for this one.
            Err(_) => self.write(event, &mut Here::default()),
        });
        if is_written.is_err() {
            // The thread is about to end, and has nothing of its own any more.
            self.write(event, &mut Here::default());
        }
    }
}

impl Lines {
    fn write(&self, event: &Event<'_>, here: &mut Here) {
        let line = here.page.line_of(event, wall_clock(), self.write);
        here.own.get_or_insert_with(|| self.buffers.join()).add(line);
    }
}

/// What this thread has logged and nobody has collected.
pub(super) fn collect_here() -> Vec<Chunk> {
    HERE.with_borrow(|here| here.own.as_ref().map(Own::collect).unwrap_or_default())
}
