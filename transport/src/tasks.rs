//! Tasks of the transport's own that go on beside calls: counted from when they are spawned until they have ended or are
//! dropped, so that one that never ends is seen also where it holds nothing else that is counted.
//!
//! What another gauge counts one by one is spawned without this, so that it is not counted twice: connections that were accepted and
//! calls on them, handlers, work that outlives its call or has an idempotency key, sources of streams, connections to other services.

use std::sync::Arc;

use crate::gauges::{Count, Gauge, Reading};

/// The tasks of one sort. Clones are the same. Who has it tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(Arc<Sort>);

#[derive(Debug)]
struct Sort {
    doing: &'static str,
    count: Count,
}

impl Tasks {
    /// None yet; `doing` says what they do, as gauges name it.
    pub(crate) fn new(doing: &'static str) -> Self {
        Self(Arc::new(Sort { doing, count: Count::default() }))
    }

    /// Runs `work` on this worker, whoever waits for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        let one = One::of(self.clone());
        tokio::task::spawn_local(async move {
            let _one = one;
            work.await;
        });
    }

    /// Tells how many there are of the service `of`, or of whatever else it names.
    pub(crate) fn tell(&self, of: &'static str, reading: &mut Reading) {
        reading.add(Gauge::Tasks, of, self.0.doing, self.0.count.get());
    }
}

/// One task, also before it has run for the first time.
struct One(Tasks);

impl One {
    fn of(tasks: Tasks) -> Self {
        tasks.0.count.add();
        Self(tasks)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.count.take_away();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn a_task_counts_from_when_it_is_spawned_until_it_has_ended_or_died() {
        let claim = async {
            let tasks = Tasks::new("waiting");
            let (end, ended) = oneshot::channel::<()>();
            tasks.spawn(async move { drop(ended.await) });
            tasks.spawn(async { panic!("it dies") });
            assert_eq!(tasks.0.count.get(), 2, "none has run yet");
            yield_now().await;
            assert_eq!(tasks.0.count.get(), 1, "one has died");
            drop(end);
            yield_now().await;
            assert_eq!(tasks.0.count.get(), 0, "the other has ended");
        };
        LocalSet::new().run_until(claim).await;
    }

    #[tokio::test]
    async fn tasks_are_dropped_with_their_worker() {
        let (worker, tasks) = (LocalSet::new(), Tasks::new("waiting"));
        worker.run_until(async { (0..2).for_each(|_| tasks.spawn(pending())) }).await;
        let mut reading = Reading::default();
        tasks.tell("orders", &mut reading);
        assert_eq!(reading.count(Gauge::Tasks, "orders", "waiting"), 2);
        drop(worker);
        assert_eq!(tasks.0.count.get(), 0);
    }
}
