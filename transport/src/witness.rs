//! Over which call an actor has died: that one failed, those that were waiting in its mailbox were not handled.

use std::cell::Cell;

use crate::context::CallContext;

thread_local! {
    /// Whether an actor of this thread is dying, and it is known over what.
    static IS_DYING: Cell<bool> = const { Cell::new(false) };
}

/// A handler begins, so no stack unwinds on this thread: what was known of the last one is over.
pub(crate) fn nothing_is_dying() {
    IS_DYING.set(false);
}

/// An actor dies over what it does now: calls that wait in its mailbox are not to blame, though they are dropped
/// while the stack unwinds, too.
pub(crate) fn blame_no_waiting_call() {
    IS_DYING.set(true);
}

/// Sees whether the actor dies over this call. The stack unwinds from the handler outwards, so of all calls that
/// are dropped meanwhile the first is the one that was handled; the others were waiting in the mailbox.
#[derive(Debug)]
pub(crate) struct Witness(CallContext);

impl Witness {
    pub(crate) fn of(call: CallContext) -> Self {
        nothing_is_dying();
        Self(call)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let is_dying = std::thread::panicking();
        if is_dying && !IS_DYING.get() {
            self.0.set_panicked();
        }
        IS_DYING.set(is_dying);
    }
}
