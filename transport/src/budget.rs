//! How many bytes a worker holds for its clients, and the most that it may: heads, also before they are whole, streams of HTTP/2, the
//! bodies of requests, and answers that are not read yet.
//!
//! The rule needs nobody to be looked for who holds most: of three quarters of it a client may hold as much as is left
//! free (as in switches with shared memory: Choudhury and Hahne, "Dynamic queue length thresholds", 1998), and the last
//! quarter is for those who hold little. So the bound is kept, who holds most is the first to be refused, and a few who
//! take what they get leave room for everybody else's small calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicIsize, AtomicU8, AtomicUsize, Ordering};

use bytes::Bytes;

use crate::gauges::{Gauge, Gauges, Holds, Reading};
use crate::status::{self, Result};

/// The most that a worker holds with nothing said, in bytes.
pub(crate) const DEFAULT_MOST: usize = 64 * 1024 * 1024;

/// What those are told who are refused.
pub(crate) const FULL: &str = "the worker holds as many bytes for clients as it may";

/// What a client may hold of the last quarter: a head and a small message, or a few of them.
const LITTLE: usize = 64 * 1024;

/// What a stream of HTTP/2 costs beside what is said on it, in bytes: there, and as the task of its call.
const STREAM: usize = 8192;

/// What is no larger than this is not followed until HTTP has written it: what HTTP keeps beside it is as much.
const SMALL: usize = 1024;

/// What one worker holds for its clients.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    taken: AtomicUsize,
    /// What HTTP/2 keeps besides for streams of calls that were not admitted, or are answered.
    waiting: AtomicIsize,
}

impl Budget {
    pub(crate) fn new(most: usize, gauges: &Gauges) -> Arc<Self> {
        let budget = Arc::new(Self { most, taken: AtomicUsize::new(0), waiting: AtomicIsize::new(0) });
        gauges.watch(&budget);
        budget
    }

    /// What it was made with.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Whether a client may hold `own` bytes of `all` that are held.
    fn allows(&self, own: usize, all: usize) -> bool {
        if own <= LITTLE { all <= self.most } else { own <= self.shared().saturating_sub(all) }
    }

    /// What those may hold together who hold more than a little.
    fn shared(&self) -> usize {
        self.most - self.most / 4
    }

    /// What is held now.
    fn held(&self) -> usize {
        self.taken.load(Ordering::Relaxed) + bytes_in(&self.waiting)
    }
}

impl Holds for Budget {
    fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::BufferedBytes, "", "", self.held());
    }
}

/// What is held for all calls of one connection.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    taken: AtomicUsize,
    standing: Standing,
}

impl Share {
    pub(crate) fn of(budget: &Arc<Budget>) -> Arc<Self> {
        let (taken, standing) = (AtomicUsize::new(0), Standing(AtomicI64::new(0)));
        Arc::new(Self { budget: Arc::clone(budget), taken, standing })
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// There are so many streams and calls more, or less, that were not admitted, or are answered.
    fn change(&self, streams: isize, calls: i32) {
        let more = self.standing.change(streams, calls);
        if more != 0 {
            self.budget.waiting.fetch_add(more * STREAM as isize, Ordering::Relaxed);
        }
    }
}

/// How many streams a connection has open, and how many calls there are of it: both without the calls that are admitted. A
/// stream may be there without its call, as when nobody reads its answer, and a call without its stream, until it has heard
/// of its end. So what counts is the larger of the two numbers. They stand in one, whose lower half the calls are.
#[derive(Debug)]
struct Standing(AtomicI64);

impl Standing {
    /// By how many streams more what counts has changed.
    fn change(&self, streams: isize, calls: i32) -> isize {
        let change = ((streams as i64) << 32) + i64::from(calls);
        let before = self.0.fetch_add(change, Ordering::Relaxed);
        Self::larger(before + change) - Self::larger(before)
    }

    fn bytes(&self) -> usize {
        Self::larger(self.0.load(Ordering::Relaxed)) as usize * STREAM
    }

    fn larger(both: i64) -> isize {
        let calls = i64::from(both as i32);
        ((both - calls) >> 32).max(calls) as isize
    }
}

/// What HTTP/2 keeps for the streams of one connection, whatever becomes of the calls on them. It cannot be refused, for it is
/// there when it is seen: so no more is read of a connection that has much of it. Calls that were admitted have a bound of
/// their own and are no part of that, until they are answered. All others have half of the worker's bytes at most, those of a
/// connection as much as they leave free of that, and as is free of what those may hold who hold more than a little; those of one with
/// few have a quarter more.
#[derive(Debug)]
pub(crate) struct Streams {
    share: Arc<Share>,
    count: usize,
}

impl Streams {
    /// None yet, of a connection.
    pub(crate) fn of(share: &Arc<Share>) -> Self {
        Self { share: Arc::clone(share), count: 0 }
    }

    /// One more.
    pub(crate) fn hold(&mut self) {
        self.count += 1;
        self.share.change(1, 0);
    }

    /// One less.
    pub(crate) fn give_back(&mut self) {
        self.count -= 1;
        self.share.change(-1, 0);
    }

    #[cfg(test)]
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::clone(&self.share)
    }

    /// Whether nothing more is to be read of the connection for now.
    pub(crate) fn are_too_many(&self) -> bool {
        let budget = &self.share.budget;
        let half = budget.most / 2;
        let (own, all) = (self.share.standing.bytes(), bytes_in(&budget.waiting));
        match own <= LITTLE {
            true => all > half + half / 2,
            // What is held for calls counts, too: the last quarter is for those who need little.
            false => own > half.saturating_sub(all).min(budget.shared().saturating_sub(budget.held())),
        }
    }

    /// Whether there are any that wait for their client.
    pub(crate) fn are_any(&self) -> bool {
        self.share.standing.bytes() > 0
    }

    /// Whether so much is held that few more are to begin at a time.
    pub(crate) fn are_many(&self) -> bool {
        let budget = &self.share.budget;
        budget.held() > budget.most / 4
    }
}

fn bytes_in(count: &AtomicIsize) -> usize {
    count.load(Ordering::Relaxed).try_into().unwrap_or_default()
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.share.change(-(self.count as isize), 0);
    }
}

/// What is held for one call, or for a part of it. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Buffered {
    client: Client,
    bytes: AtomicUsize,
    /// Of a call of a connection that has several at once: one of [`WAITS`], [`ADMITTED`] and [`OVER`].
    stage: Option<AtomicU8>,
}

/// The call is not admitted, or is answered.
const WAITS: u8 = 0;
/// It has a permit.
const ADMITTED: u8 = 1;
/// There is nothing left of it but what somebody keeps.
const OVER: u8 = 2;

/// Whose bytes they are.
#[derive(Debug, Clone)]
enum Client {
    /// A connection, with all of its calls.
    Connection(Arc<Share>),
    /// A connection with one call at a time.
    Call(Arc<Budget>),
}

impl Buffered {
    /// Nothing yet, for a call of a connection that has several at once.
    pub(crate) fn of(share: &Arc<Share>) -> Self {
        share.change(0, 1);
        let client = Client::Connection(Arc::clone(share));
        Self { client, bytes: AtomicUsize::new(0), stage: Some(AtomicU8::new(WAITS)) }
    }

    /// Nothing yet, for a call that is the only one of its connection.
    pub(crate) fn alone(budget: &Arc<Budget>) -> Self {
        Self::part(Client::Call(Arc::clone(budget)), 0)
    }

    fn part(client: Client, bytes: usize) -> Self {
        Self { client, bytes: AtomicUsize::new(bytes), stage: None }
    }

    /// Tells its client from all others, as long as this lives.
    pub(crate) fn client(&self) -> usize {
        match &self.client {
            Client::Connection(share) => Arc::as_ptr(share).addr(),
            Client::Call(_) => (&raw const *self).addr(),
        }
    }

    /// The call was admitted: from now until it is answered, its stream waits for nobody's leave.
    pub(crate) fn admit(&self) {
        self.go(WAITS, ADMITTED, -1);
    }

    /// The call has given up its permit: its stream, which may be there for as long as its client does not read, counts again.
    pub(crate) fn answered(&self) {
        self.go(ADMITTED, WAITS, 1);
    }

    /// The call is over, though somebody may keep its context: what is left of it is what it holds.
    pub(crate) fn over(&self) {
        let Some((share, stage)) = self.on_stream() else { return };
        match stage.swap(OVER, Ordering::Relaxed) {
            WAITS => share.change(0, -1),
            // Its stream counts again.
            ADMITTED => share.change(1, 0),
            _ => {}
        }
    }

    /// Goes from one stage to another, if it is there; so many more streams and calls count then.
    fn go(&self, from: u8, to: u8, more: i32) {
        if let Some((share, stage)) = self.on_stream()
            && stage.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            share.change(more as isize, more);
        }
    }

    /// The connection of a call that has a stream of it, and at which stage it is.
    fn on_stream(&self) -> Option<(&Share, &AtomicU8)> {
        match &self.client {
            Client::Connection(share) => Some((share, self.stage.as_ref()?)),
            Client::Call(_) => None,
        }
    }

    /// Takes so many bytes more, or refuses them.
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        if !self.hold(bytes) {
            self.give_back(bytes);
            return Err(status::no_room_here(FULL));
        }
        Ok(())
    }

    /// Takes so many bytes more, which are held already; whether the client may hold as much.
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        let add = |count: &AtomicUsize| count.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = add(&self.bytes);
        let (budget, own) = match &self.client {
            Client::Connection(share) => (&share.budget, add(&share.taken)),
            Client::Call(budget) => (budget, own),
        };
        budget.allows(own, add(&budget.taken) + bytes_in(&budget.waiting))
    }

    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives back all that was taken.
    pub(crate) fn give_all_back(&self) {
        self.give_back(self.bytes());
    }

    /// Gives back so many of the bytes that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let budget = match &self.client {
            Client::Connection(share) => {
                share.taken.fetch_sub(bytes, Ordering::Relaxed);
                &share.budget
            }
            Client::Call(budget) => budget,
        };
        budget.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The same bytes as they go out, for which as many were taken: given back when HTTP has written the last piece of
    /// them. Small ones come back as they are, and stay with the call.
    pub(crate) fn outgoing(&self, bytes: Bytes) -> Bytes {
        let count = bytes.len();
        if count <= SMALL {
            return bytes;
        }
        self.bytes.fetch_sub(count, Ordering::Relaxed);
        let part = Self::part(self.client.clone(), count);
        Bytes::from_owner(Outgoing { bytes, _part: part })
    }

    /// Whether [`outgoing`](Self::outgoing) leaves so many bytes with the call.
    pub(crate) fn keeps(bytes: usize) -> bool {
        bytes <= SMALL
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.give_all_back();
        self.over();
    }
}

/// Bytes that are counted for as long as anybody has a piece of them.
struct Outgoing {
    bytes: Bytes,
    _part: Buffered,
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn budget(most: usize) -> (Gauges, Arc<Budget>) {
        let gauges = Gauges::new();
        let budget = Budget::new(most, &gauges);
        (gauges, budget)
    }

    fn call(budget: &Arc<Budget>) -> Buffered {
        Buffered::alone(budget)
    }

    /// So much that three quarters of it are 48 MiB.
    const MOST: usize = 64 * MIB;
    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_client_holds_no_more_than_it_leaves_free() {
        let (_, budget) = budget(MOST);
        let (first, second) = (call(&budget), call(&budget));
        first.take(24 * MIB).expect("half of three quarters");
        assert_eq!(first.take(1).expect_err("more than is free").code(), Code::ResourceExhausted);
        second.take(12 * MIB).expect("half of what is left");
        second.take(1).expect_err("more than is free");
        drop(first);
        second.take(12 * MIB).expect("there is room again");
    }

    #[test]
    fn the_calls_of_a_connection_share_what_it_may_hold() {
        let (_, budget) = budget(MOST);
        let share = Share::of(&budget);
        let calls = [Buffered::of(&share), Buffered::of(&share)];
        calls[0].take(20 * MIB).expect("there is room");
        calls[1].take(5 * MIB).expect_err("the connection has 20 already");
        call(&budget).take(5 * MIB).expect("another connection has none");
    }

    #[test]
    fn clients_that_take_what_they_get_leave_a_quarter_to_those_who_need_little() {
        let (gauges, budget) = budget(MOST);
        let greedy: Vec<_> = (0..100).map(|_| call(&budget)).collect();
        greedy.iter().for_each(|call| while call.take(16 * 1024).is_ok() {});
        let modest: Vec<_> = (0..1000).map(|_| call(&budget)).collect();
        modest.iter().for_each(|call| call.take(8 * 1024).expect("there is room for it"));
        let more: Vec<_> = (0..10_000).map(|_| call(&budget)).collect();
        assert!(more.iter().any(|call| call.take(8 * 1024).is_err()), "there is an end to it");
        assert!(gauges.read().sum(Gauge::BufferedBytes) <= MOST);
    }

    #[test]
    fn streams_that_nobody_ends_leave_a_quarter_to_those_who_need_little() {
        let (_, budget) = budget(MOST);
        let greedy: Vec<_> = (0..10).map(|_| call(&budget)).collect();
        greedy.iter().for_each(|call| while call.take(16 * 1024).is_ok() {});
        let mut streams = Streams::of(&Share::of(&budget));
        while !streams.are_too_many() {
            streams.hold();
        }
        call(&budget).take(LITTLE).expect("there is room for it");
    }

    #[test]
    fn calls_count_until_they_have_heard_that_their_connection_is_gone() {
        let (gauges, budget) = budget(MOST);
        let held = || gauges.read().sum(Gauge::BufferedBytes);
        let share = Share::of(&budget);
        let mut streams = Streams::of(&share);
        let mut calls: Vec<_> = (0..5).map(|_| (streams.hold(), Buffered::of(&share)).1).collect();
        assert_eq!(held(), 5 * STREAM, "of each there is one, with its stream");
        calls.iter().take(2).for_each(Buffered::admit);
        streams.give_back();
        assert_eq!(held(), 3 * STREAM, "one is reset, and has not heard of it");
        drop(streams);
        assert_eq!(held(), 3 * STREAM);
        calls[0].answered();
        assert_eq!(held(), 4 * STREAM, "it was admitted, and is no longer");
        drop(calls.split_off(2));
        assert_eq!(held(), STREAM);
        calls[0].over();
        assert_eq!(held(), 0, "its context is kept");
        calls[0].admit();
        let other = Share::of(&budget);
        let _call = Buffered::of(&other);
        assert_eq!(held(), STREAM, "the admitted one makes no room for others");
        drop(calls);
        assert_eq!(held(), STREAM);
    }

    #[test]
    fn all_is_given_back_however_it_goes_out() {
        let (gauges, budget) = budget(MOST);
        let held = || gauges.read().sum(Gauge::BufferedBytes);
        for size in [SMALL, SMALL + 1, 40_000] {
            let call = call(&budget);
            call.take(size + 7).expect("there is room");
            let mut outgoing = call.outgoing(vec![1; size].into());
            drop(call);
            assert_eq!(held(), if Buffered::keeps(size) { 0 } else { size });
            let piece = outgoing.split_to(size / 2);
            drop(outgoing);
            drop(piece);
            assert_eq!(held(), 0);
        }
    }
}
