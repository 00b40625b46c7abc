//! Calls that hold a permit while their message has not come, and which of them gives it up where there is no other left.
//!
//! Whoever sends the heads of calls and not their messages would else keep everybody out, for as long as calls may take. So
//! who comes when a service is full takes the permit of a call like that, if it is of a client that has more of them than he
//! has, or, where nobody has several, has been there for long. A client that sends its messages with its heads has none. Of
//! those of a client the newest gives way: who is slow, and not idle, gets done what has come furthest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// How long the only such call of a client has before it gives way: a large message takes its time.
const GRACE: Duration = Duration::from_secs(1);

/// The calls of one service that wait for their messages.
#[derive(Debug, Default)]
pub(crate) struct Awaiting(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    /// Those that have come since the service was last full, each with its client: most are gone before it is again.
    new: BTreeMap<u64, (usize, Entry)>,
    /// Those of each client that were there then, oldest first. There is no client without any.
    clients: BTreeMap<usize, BTreeMap<u64, Entry>>,
    /// The clients by how many those are, and by the age of the oldest.
    ranks: BTreeSet<Rank>,
}

/// How many calls of a client wait, the number of the oldest, and the client.
type Rank = (usize, Reverse<u64>, usize);

/// A call that waits.
struct Entry {
    since: Instant,
    /// Is woken when the call has given way.
    waker: Waker,
    /// What is done then. It is dropped when the call waits no longer.
    gives_way: GivesWay,
}

/// What is done at once when a call gives way.
pub(crate) type GivesWay = Box<dyn FnOnce() + Send>;

impl Awaiting {
    /// One more call of `client` waits, which gets this number.
    pub(crate) fn enter(&self, client: usize, waker: &Waker, gives_way: GivesWay) -> u64 {
        let mut book = self.lock();
        let number = book.next;
        book.next += 1;
        let entry = Entry { since: Instant::now(), waker: waker.clone(), gives_way };
        book.new.insert(number, (client, entry));
        number
    }

    /// Whether the call waits yet, and has not given way; if so, `waker` is woken when it has.
    pub(crate) fn waits(&self, client: usize, number: u64, waker: &Waker) -> bool {
        let mut book = self.lock();
        let Some(entry) = book.entry(client, number) else { return false };
        entry.waker.clone_from(waker);
        true
    }

    /// The call waits no longer. Whether it has its permit yet.
    pub(crate) fn leave(&self, client: usize, number: u64) -> bool {
        // What it would have done is dropped here, and not under the lock.
        let gone = self.lock().take(client, number);
        gone.is_some()
    }

    /// Has one give its permit up to `client`; whether there was one.
    pub(crate) fn give_way_to(&self, client: Option<usize>) -> bool {
        let gone = self.lock().take_for(client);
        gone.is_some_and(|Entry { waker, gives_way, .. }| {
            gives_way();
            waker.wake();
            true
        })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn entry(&mut self, client: usize, number: u64) -> Option<&mut Entry> {
        match self.new.get_mut(&number) {
            Some((_, entry)) => Some(entry),
            None => self.clients.get_mut(&client)?.get_mut(&number),
        }
    }

    fn take(&mut self, client: usize, number: u64) -> Option<Entry> {
        match self.new.remove(&number) {
            Some((_, entry)) => Some(entry),
            None => self.change(client, |calls| calls.remove(&number)),
        }
    }

    /// Takes the call that is to give way to `client`, if one is.
    fn take_for(&mut self, client: Option<usize>) -> Option<Entry> {
        for (number, (client, entry)) in take(&mut self.new) {
            self.change(client, |calls| calls.insert(number, entry));
        }
        let &(most, _, whose) = self.ranks.last()?;
        let (&newest, entry) = self.clients.get(&whose)?.last_key_value()?;
        let own = client.and_then(|client| self.clients.get(&client)).map_or(0, BTreeMap::len);
        let may_take = match most {
            1 => entry.since.elapsed() >= GRACE,
            // However long they have been there: else clients that have begun as many take from each other for ever.
            _ => own < most,
        };
        if client != Some(whose) && may_take { self.take(whose, newest) } else { None }
    }

    /// Changes the calls of `client`, and ranks it anew.
    fn change<T>(&mut self, client: usize, change: impl FnOnce(&mut BTreeMap<u64, Entry>) -> T) -> T {
        let mut calls = self.clients.remove(&client).unwrap_or_default();
        rank(client, &calls).inspect(|rank| assert!(self.ranks.remove(rank), "each client is ranked"));
        let changed = change(&mut calls);
        if let Some(rank) = rank(client, &calls) {
            self.ranks.insert(rank);
            self.clients.insert(client, calls);
        }
        changed
    }
}

fn rank(client: usize, calls: &BTreeMap<u64, Entry>) -> Option<Rank> {
    let (&oldest, _) = calls.first_key_value()?;
    Some((calls.len(), Reverse(oldest), client))
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures_util::task::noop_waker_ref;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const IDLE: usize = 1;
    const SLOW: usize = 2;

    fn enter(awaiting: &Awaiting, client: usize) -> u64 {
        awaiting.enter(client, noop_waker_ref(), Box::new(|| ()))
    }

    fn waits(awaiting: &Awaiting, client: usize, number: u64) -> bool {
        awaiting.waits(client, number, noop_waker_ref())
    }

    #[tokio::test]
    async fn the_newest_call_of_who_has_most_gives_way_to_who_has_fewer() {
        let awaiting = Awaiting::default();
        let slow = enter(&awaiting, SLOW);
        let idle = [(); 3].map(|()| enter(&awaiting, IDLE));
        assert!(awaiting.give_way_to(None));
        assert!(awaiting.give_way_to(Some(SLOW)));
        assert_eq!(idle.map(|number| waits(&awaiting, IDLE, number)), [true, false, false]);
        assert!(!awaiting.give_way_to(Some(SLOW)), "nobody has more than one");
        assert!(!awaiting.leave(IDLE, idle[2]), "its permit is another's");
        assert!(awaiting.leave(IDLE, idle[0]) && awaiting.leave(SLOW, slow));
        assert!(!awaiting.give_way_to(None), "nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_most_takes_from_nobody() {
        let awaiting = Awaiting::default();
        for client in [IDLE, IDLE, SLOW] {
            enter(&awaiting, client);
        }
        tokio::time::advance(GRACE).await;
        assert!(!awaiting.give_way_to(Some(IDLE)));
        assert!(awaiting.give_way_to(Some(SLOW)));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_have_as_many_do_not_take_from_each_other() {
        let awaiting = Awaiting::default();
        for client in [IDLE, SLOW, IDLE, SLOW] {
            enter(&awaiting, client);
        }
        tokio::time::advance(GRACE).await;
        assert!(!awaiting.give_way_to(Some(IDLE)) && !awaiting.give_way_to(Some(SLOW)));
        assert!(awaiting.give_way_to(None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_call_of_a_client_has_a_second() {
        let awaiting = Awaiting::default();
        let only = enter(&awaiting, SLOW);
        assert!(!awaiting.give_way_to(None) && waits(&awaiting, SLOW, only));
        tokio::time::advance(GRACE).await;
        assert!(!awaiting.give_way_to(Some(SLOW)), "it is his own");
        assert!(awaiting.give_way_to(None) && !waits(&awaiting, SLOW, only));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_second_a_call_gives_way_to_a_client_that_has_as_many() {
        let awaiting = Awaiting::default();
        let idle = enter(&awaiting, IDLE);
        tokio::time::advance(GRACE).await;
        enter(&awaiting, SLOW);
        assert!(awaiting.give_way_to(Some(SLOW)) && !waits(&awaiting, IDLE, idle));
    }

    #[tokio::test]
    async fn who_gives_way_is_woken_when_all_is_done_for_that() {
        let (awaiting, done) = (Awaiting::default(), Arc::new(AtomicUsize::new(0)));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        for _ in 0..2 {
            let done = done.clone();
            let gives_way = move || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            let number = awaiting.enter(IDLE, noop_waker_ref(), Box::new(gives_way));
            assert!(awaiting.waits(IDLE, number, &waker));
        }
        assert!(awaiting.give_way_to(None));
        assert_eq!((done.load(Ordering::Relaxed), woken.0.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(Arc::strong_count(&done), 2, "what is done for the other one is there yet");
    }
}
