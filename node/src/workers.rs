//! The workers of a node, as the accept loop sees them: whose turn it is, and who has room.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use futures_util::future::{FutureExt as _, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use transport::Drain;

use crate::machine::{Accepted, Machine, WorkerEnd};
use crate::worker::{Connection, Edge, Plan, work};

/// The most connections that one worker has at once. Accepting waits while all workers have as many.
const CONNECTIONS_MAX: usize = 25_600;

/// The workers of a node. They end when this is dropped.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    /// Whose turn it is.
    next: Cell<usize>,
}

struct Worker {
    /// Unbounded, but what waits there holds one of the worker's permits.
    connections: UnboundedSender<Connection>,
    permits: Arc<Semaphore>,
}

/// Resolve with the index of a worker when it has ended.
pub(crate) type Ends = FuturesUnordered<futures_util::future::LocalBoxFuture<'static, u16>>;

impl Workers {
    /// Starts the workers of `plan`, one after the other, so that it is always the first that starts what is in the
    /// node once. `ends` are told of each.
    pub(crate) async fn start(plan: Plan, machine: &impl Machine, ends: &mut Ends) -> io::Result<Self> {
        let plan = Arc::new(plan);
        let mut workers = Vec::new();
        for index in 0..plan.config.workers {
            let (ready, is_ready) = oneshot::channel();
            let (worker, end) = start(&plan, index, machine, ready)?;
            workers.push(worker);
            ends.push(end.map(move |()| index).boxed_local());
            tokio::select! {
                biased;
                _ = is_ready => {}
                Some(index) = ends.next() => return Err(ended_by_itself(index)),
            }
        }
        Ok(Self::new(workers))
    }

    fn new(workers: Vec<Worker>) -> Self {
        Self { workers, next: Cell::new(0) }
    }

    /// The next worker in turn that has room for a connection. Waits while none has.
    pub(crate) async fn room(&self) -> Room<'_> {
        let count = self.workers.len();
        for step in 0..count {
            let index = (self.next.get() + step) % count;
            if let Ok(permit) = self.workers[index].permits.clone().try_acquire_owned() {
                return Room { workers: self, index, permit };
            }
        }
        let waiting = self.workers.iter().map(|worker| worker.permits.clone().acquire_owned().boxed_local());
        let (permit, index, _) = select_all(waiting).await;
        Room { workers: self, index, permit: permit.expect("the permits are never closed") }
    }
}

/// Room for one connection at one worker.
pub(crate) struct Room<'a> {
    workers: &'a Workers,
    index: usize,
    permit: OwnedSemaphorePermit,
}

impl Room<'_> {
    /// Hands a connection to the worker; the next one has its turn then.
    pub(crate) fn take(self, edge: Edge, accepted: Accepted, drain: &Drain) {
        let Self { workers, index, permit } = self;
        let connection = Connection { edge, accepted, open: drain.work(), permit };
        // A worker that is gone is noticed elsewhere, and ends the node.
        workers.workers[index].connections.send(connection).ok();
        workers.next.set((index + 1) % workers.workers.len());
    }
}

/// Why a node fails whose worker `index` has ended before its time.
pub(crate) fn ended_by_itself(index: u16) -> io::Error {
    io::Error::other(format!("worker {index} has ended by itself"))
}

fn start(
    plan: &Arc<Plan>,
    index: u16,
    machine: &impl Machine,
    ready: oneshot::Sender<()>,
) -> io::Result<(Worker, WorkerEnd)> {
    let (connections, incoming) = unbounded_channel();
    let plan = plan.clone();
    let main = Box::new(move || work(plan, index, incoming, ready).boxed_local());
    let end = machine.start_worker(&format!("worker {index}"), main)?;
    Ok((Worker { connections, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }, end))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::UnboundedReceiver;
    use transport::CallerAddress;

    use super::*;

    /// Workers with room for so many connections each, and what each is handed.
    fn workers<const N: usize>(room: [usize; N]) -> (Workers, [UnboundedReceiver<Connection>; N]) {
        let channels = room.map(|_| unbounded_channel());
        let made = room.iter().zip(&channels).map(|(room, (connections, _))| Worker {
            connections: connections.clone(),
            permits: Arc::new(Semaphore::new(*room)),
        });
        (Workers::new(made.collect()), channels.map(|(_, handed)| handed))
    }

    /// A connection takes the room that comes next; at which worker.
    async fn take(workers: &Workers) -> usize {
        let room = workers.room().await;
        let index = room.index;
        let open = Box::new(|| Err(io::ErrorKind::NotConnected.into()));
        room.take(Edge::Grpc, Accepted { caller: CallerAddress::Memory, open }, &Drain::new());
        index
    }

    #[tokio::test]
    async fn workers_are_handed_connections_in_turn() {
        let (workers, mut handed) = workers([3, 3]);
        for _ in 0..4 {
            take(&workers).await;
        }
        let counts = handed.each_mut().map(|handed| {
            std::iter::from_fn(|| handed.try_recv().ok().map(|connection| connection.edge)).count()
        });
        assert_eq!(counts, [2, 2]);
    }

    #[tokio::test]
    async fn a_worker_without_room_is_passed_over_until_it_has_some() {
        let (workers, mut handed) = workers([2, 1, 2]);
        for expected in [0, 1, 2, 0, 2] {
            assert_eq!(take(&workers).await, expected);
        }
        assert!(workers.room().now_or_never().is_none(), "all are full");
        let mut waits = Box::pin(workers.room());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(handed[1].try_recv().expect("it was handed one"));
        assert_eq!(waits.await.index, 1);
    }
}
