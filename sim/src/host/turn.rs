//! Lets other tasks of a host go first, as the seed has it.
//!
//! tokio polls tasks in the order in which they were woken, in every run; this is what varies the order.

use std::task::{Context, Poll};

use crate::trace::recorder;

/// Whether the task polled by `context` should come back later, as the seed has it. It is woken at once.
///
/// # Panics
/// Where no rehearsal runs.
pub fn poll_turn(context: &mut Context<'_>) -> Poll<()> {
    if recorder::with(|recorder| recorder.turns.should_yield()) {
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// Lets other tasks of the host go first, as the seed has it. For seams that are no socket: a mailbox, a queue.
///
/// # Panics
/// Where no rehearsal runs.
pub async fn turn() {
    let mut asked = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { poll_turn(context) }
    })
    .await;
}
