//! What happens once, and is waited for.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Set once, and then for good: until then others wait for it.
///
/// Not tokio's `watch`, which wakes those who wait in an order of its own choosing: here it is the order in
/// which they came, so that a rehearsal can be repeated.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    is_set: AtomicBool,
    waiting: Notify,
}

impl Latch {
    /// Sets it, and wakes all who wait. To set it again does nothing.
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.waiting.notify_waiters();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Resolves when it is set.
    pub(crate) async fn wait(&self) {
        // Listening comes before looking, so that what is set in between is not missed.
        let set = self.waiting.notified();
        if !self.is_set() {
            set.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use futures_util::FutureExt as _;
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    #[test]
    fn who_waits_is_woken_when_it_is_set_and_who_comes_later_does_not_wait() {
        let latch = Latch::default();
        let mut waits = [Box::pin(latch.wait()), Box::pin(latch.wait())];
        assert!(waits.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()) && !latch.is_set());
        latch.set();
        assert!(waits.iter_mut().all(|wait| wait.as_mut().now_or_never().is_some()), "all who waited");
        latch.set();
        assert!(latch.is_set() && latch.wait().now_or_never().is_some(), "one who comes later");
    }

    #[tokio::test]
    async fn those_who_wait_go_on_in_the_order_in_which_they_came() {
        let (latch, order) = (Rc::new(Latch::default()), Rc::new(RefCell::new(Vec::new())));
        let wait = |number| {
            let (latch, order) = (latch.clone(), order.clone());
            async move {
                latch.wait().await;
                order.borrow_mut().push(number);
            }
        };
        let tasks = LocalSet::new();
        (0..50).for_each(|number| drop(tasks.spawn_local(wait(number))));
        // They all wait by then.
        tasks.run_until(yield_now()).await;
        assert!(order.borrow().is_empty());
        latch.set();
        tasks.await;
        assert!(order.borrow().iter().copied().eq(0..50), "{order:?}");
    }
}
