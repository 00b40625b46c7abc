//! Timers that are used again.
//!
//! Nearly every call ends before its deadline, and gives its timer, still set, to a later call of the same thread, for which
//! it is put off: one store. A new timer takes the lock of tokio's wheel twice; and where no other timer is due before it, it
//! wakes the very thread that sets it, with a write to the kernel and a round of its poll: for each call, since a worker seldom
//! has a call in flight when it goes to sleep. Spare timers stay set, so that there is one that is due before.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Handle, Id};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// How many timers a thread keeps; each has some 120 bytes.
const SPARE_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { runtime: None, timers: Vec::new() }) };
}

/// The timers that nobody waits for on a thread. They are all of one runtime, whose clock they follow: in the simulation, the
/// hosts share a thread, and each of them has its own.
struct Spare {
    runtime: Option<Id>,
    timers: Vec<Pin<Box<Sleep>>>,
}

/// Ready at its time, within a millisecond, and from then on.
#[derive(Debug)]
pub(crate) struct Timer {
    /// There until it is dropped.
    sleep: Option<Pin<Box<Sleep>>>,
    runtime: Id,
}

impl Timer {
    /// # Panics
    /// Outside of a runtime that has a clock.
    pub(crate) fn at(time: Instant) -> Self {
        let runtime = Handle::current().id();
        let spare = SPARE.with_borrow_mut(|spare| spare.of(runtime).pop());
        let sleep = match spare {
            Some(mut sleep) => {
                sleep.as_mut().reset(time);
                sleep
            }
            None => Box::pin(sleep_until(time)),
        };
        Self { sleep: Some(sleep), runtime }
    }

    /// Whether it is time, however often its task has asked for other things in this turn: one that is never short of
    /// these ends, too.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.as_mut().expect("it is there until it is dropped");
        pin!(unconstrained(sleep.as_mut())).poll(cx)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // On its way down, a runtime may be gone before those who waited in it, and may not be asked any more.
        if Handle::try_current().is_ok_and(|current| current.id() == self.runtime)
            // It may be long until it is used again: no task is to be kept for it.
            && self.poll(&mut Context::from_waker(Waker::noop())).is_pending()
            && let Some(sleep) = self.sleep.take()
        {
            // A thread that ends has none left.
            SPARE.try_with(|spare| spare.borrow_mut().keep(sleep, self.runtime)).ok();
        }
    }
}

impl Spare {
    /// The spare timers of `runtime`; those of another one are gone then.
    fn of(&mut self, runtime: Id) -> &mut Vec<Pin<Box<Sleep>>> {
        if self.runtime != Some(runtime) {
            self.timers.clear();
            self.runtime = Some(runtime);
        }
        &mut self.timers
    }

    fn keep(&mut self, timer: Pin<Box<Sleep>>, runtime: Id) {
        let timers = self.of(runtime);
        if timers.len() < SPARE_MAX {
            timers.push(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    fn in_ms(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    async fn passes(mut timer: Timer) {
        poll_fn(|cx| timer.poll(cx)).await;
    }

    fn set(time: Instant) -> Timer {
        let mut timer = Timer::at(time);
        assert!(timer.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        timer
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_used_again_is_ready_at_its_own_time() {
        for (before, ms) in [(10, 30), (30, 10), (10, 10), (5, 6)] {
            drop(set(in_ms(before)));
            let due = in_ms(ms);
            passes(Timer::at(due)).await;
            assert!((due..=due + Duration::from_millis(1)).contains(&Instant::now()), "{before} then {ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_went_off_while_it_was_spare_is_used_again() {
        drop(set(in_ms(10)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let due = in_ms(30);
        passes(Timer::at(due)).await;
        assert!(Instant::now() >= due);
    }

    #[test]
    fn a_runtime_gets_no_timer_of_another_one() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (gone, here) = (runtime(), runtime());
        let left = gone.block_on(async {
            let (spare, left) = (set(in_ms(10)), set(in_ms(10)));
            drop(spare);
            left
        });
        drop(gone);
        here.block_on(async { passes(Timer::at(in_ms(1))).await });
        drop(left);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_timers_are_kept_than_may() {
        let all: Vec<_> = (0..2 * SPARE_MAX).map(|_| set(in_ms(10))).collect();
        drop(all);
        SPARE.with_borrow(|spare| assert_eq!(spare.timers.len(), SPARE_MAX));
    }

    /// A worker that is asleep is woken by each call, and goes to sleep again after it; the tenth part more is slack. What
    /// wakes it besides would have it go to sleep twice for a call.
    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the caller is not to be on the worker")]
    async fn a_worker_is_not_woken_by_the_timers_that_it_sets_itself() {
        let sleeps = Handle::current().metrics();
        let before = sleeps.worker_park_count(0);
        let (caller, mut calls) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut slept = before;
            for _ in 0..CALLS {
                while sleeps.worker_park_count(0) == slept {
                    std::thread::yield_now();
                }
                slept = sleeps.worker_park_count(0);
                caller.send(()).expect("the worker waits for all calls");
            }
        });
        while calls.recv().await.is_some() {
            drop(set(in_ms(10_000)));
        }
        let slept = Handle::current().metrics().worker_park_count(0) - before;
        assert!(slept <= CALLS + CALLS / 10, "it went to sleep {slept} times for {CALLS} calls");
    }

    const CALLS: u64 = 200;
}
