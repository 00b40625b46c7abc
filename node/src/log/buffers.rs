//! Where lines wait to be written: a buffer for each thread that logs, and one bound on the memory of all.
//!
//! A thread's buffer has a lock of its own, which nobody else takes but the writing thread when it collects. Knows
//! neither how lines look nor where they go.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

/// Lines are handed over in chunks of so many bytes. A line that is longer has a chunk of its own size.
pub(super) const CHUNK: usize = 32 * 1024;

/// The most bytes that all chunks have together, whether lines wait in them or are being written.
const TOTAL: usize = 8 * 1024 * 1024;

/// A worker may have so many bytes in any case: a chunk that it fills, and one that is being written.
const FOR_A_WORKER: usize = 2 * CHUNK;

/// The most empty chunks that are kept for the next lines.
const SPARE: usize = 16;

/// The buffers of all threads.
#[derive(Debug)]
pub(super) struct Buffers {
    threads: Mutex<Vec<Arc<Mutex<Lines>>>>,
    spare: Mutex<Vec<Chunk>>,
    /// The bytes of all chunks there are, and the most that they may be.
    held: AtomicUsize,
    limit: usize,
    /// Counts the chunks, in the order in which their first lines came.
    begun: AtomicU64,
    dropped: AtomicU64,
    writer: OnceLock<Thread>,
    is_writer_asleep: AtomicBool,
}

/// Lines of one thread, whole ones, in their order.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) lines: Vec<u8>,
    /// What it counts for.
    size: usize,
    begun: u64,
}

/// What one thread has logged and nobody has collected.
#[derive(Debug, Default)]
struct Lines {
    full: Vec<Chunk>,
    last: Chunk,
}

/// A thread's own buffer. What is in it when the thread ends is collected all the same.
#[derive(Debug)]
pub(super) struct Own {
    lines: Arc<Mutex<Lines>>,
    buffers: Arc<Buffers>,
}

impl Buffers {
    /// Buffers for a node with so many workers.
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Self::with_limit(TOTAL.max(workers * FOR_A_WORKER))
    }

    fn with_limit(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            threads: Mutex::default(),
            spare: Mutex::default(),
            held: AtomicUsize::new(0),
            limit,
            begun: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            writer: OnceLock::new(),
            is_writer_asleep: AtomicBool::new(false),
        })
    }

    /// A buffer for one more thread.
    pub(super) fn join(self: &Arc<Self>) -> Own {
        let lines = Arc::default();
        lock(&self.threads).push(Arc::clone(&lines));
        Own { lines, buffers: self.clone() }
    }

    /// This thread writes, and is woken when there is something to write.
    pub(super) fn written_by(&self, thread: Thread) {
        self.writer.set(thread).expect("there is one writing thread");
    }

    /// Says that the writing thread is about to sleep until it is woken. Whoever logs from here on wakes it, so what was
    /// logged before is to be looked for once more.
    pub(super) fn writer_sleeps(&self, asleep: bool) {
        self.is_writer_asleep.store(asleep, Ordering::SeqCst);
    }

    /// Takes all lines that wait, the chunk first that was begun first. They count until they are
    /// [given back](Self::give_back).
    pub(super) fn collect(&self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        lock(&self.threads).retain_mut(|thread| {
            // Asked before its lines are taken: whoever has gone logs no more.
            let has_gone = Arc::get_mut(thread).is_some();
            lock(thread).take(&mut chunks);
            !has_gone
        });
        chunks.sort_by_key(|chunk| chunk.begun);
        chunks
    }

    /// Whether nothing waits to be written.
    pub(super) fn are_empty(&self) -> bool {
        lock(&self.threads).iter().all(|thread| lock(thread).are_none())
    }

    /// Gives a chunk back that was written.
    pub(super) fn give_back(&self, mut chunk: Chunk) {
        let mut spare = lock(&self.spare);
        if chunk.size == CHUNK && spare.len() < SPARE {
            chunk.lines.clear();
            spare.push(chunk);
        } else {
            self.held.fetch_sub(chunk.size, Ordering::Relaxed);
        }
    }

    /// How many lines there was no room for, or no way to write.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(super) fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::SeqCst);
    }

    /// One of the lines that were dropped is not missed.
    pub(super) fn take_back_a_drop(&self) {
        self.dropped.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes the writing thread, whatever it is waiting for.
    pub(super) fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn wake_if_asleep(&self) {
        if self.is_writer_asleep.load(Ordering::SeqCst) && self.is_writer_asleep.swap(false, Ordering::SeqCst)
        {
            self.wake();
        }
    }

    /// A chunk with room for `least` bytes, if there is memory for it.
    fn chunk(&self, least: usize) -> Option<Chunk> {
        let size = least.max(CHUNK);
        let spare = if size == CHUNK { lock(&self.spare).pop() } else { None };
        let mut chunk = match spare {
            Some(spare) => spare,
            None => {
                let more = |held: usize| Some(held + size).filter(|held| *held <= self.limit);
                let before = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
                if before > self.limit / 4 {
                    // Lines come faster than their time to wait ends.
                    self.wake();
                }
                Chunk { lines: Vec::with_capacity(size), size, begun: 0 }
            }
        };
        chunk.begun = self.begun.fetch_add(1, Ordering::Relaxed);
        Some(chunk)
    }
}

impl Own {
    /// Adds a line, which ends with a line feed; where there is no room for it, it is dropped and counted.
    pub(super) fn add(&self, line: &[u8]) {
        let mut lines = lock(&self.lines);
        let was_empty = lines.are_none();
        if lines.last.room() < line.len() {
            let Some(chunk) = self.buffers.chunk(line.len()) else {
                drop(lines);
                self.buffers.drop_lines(1);
                return self.buffers.wake_if_asleep();
            };
            let full = std::mem::replace(&mut lines.last, chunk);
            if full.size > 0 {
                lines.full.push(full);
            }
        }
        lines.last.lines.extend_from_slice(line);
        drop(lines);
        if was_empty {
            self.buffers.wake_if_asleep();
        }
    }

    /// Takes what is in this buffer.
    pub(super) fn collect(&self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        lock(&self.lines).take(&mut chunks);
        chunks
    }
}

impl Lines {
    fn are_none(&self) -> bool {
        self.full.is_empty() && self.last.size == 0
    }

    fn take(&mut self, to: &mut Vec<Chunk>) {
        to.append(&mut self.full);
        if self.last.size > 0 {
            to.push(std::mem::take(&mut self.last));
        }
    }
}

impl Chunk {
    fn room(&self) -> usize {
        self.size - self.lines.len()
    }
}

/// What is behind these locks is whole at any time, also where a thread panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is about threads")]
    fn the_buffers_of_all_threads_have_one_bound_and_what_does_not_fit_is_counted() {
        const LINES: usize = 4000;
        let buffers = Buffers::with_limit(5 * CHUNK);
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let threads = [(); 4].map(|()| {
            let (own, line) = (buffers.join(), line.clone());
            std::thread::spawn(move || (0..LINES).for_each(|_| own.add(&line)))
        });
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let chunks = buffers.collect();
        assert_eq!((chunks.len(), buffers.held.load(Ordering::Relaxed)), (5, 5 * CHUNK));
        let kept: usize = chunks.iter().map(|chunk| chunk.lines.len() / 100).sum();
        assert_eq!(kept as u64 + buffers.dropped(), 4 * LINES as u64);
        assert!(chunks.iter().all(|chunk| chunk.lines.len() <= CHUNK && chunk.lines.ends_with(b"x\n")));
        chunks.into_iter().for_each(|chunk| buffers.give_back(chunk));
        buffers.join().add(&line);
        assert_eq!(buffers.collect().len(), 1, "there is room again");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is about threads")]
    fn what_a_thread_logged_is_there_when_it_has_ended_and_nothing_else_of_it() {
        let buffers = Buffers::new(1);
        let own = buffers.join();
        std::thread::spawn(move || own.add(b"last words\n")).join().expect("no panic");
        assert_eq!(buffers.collect()[0].lines, b"last words\n");
        assert_eq!(lock(&buffers.threads).len(), 0);
        assert!(buffers.are_empty());
    }

    #[test]
    fn chunks_come_in_the_order_of_their_first_lines() {
        let buffers = Buffers::new(1);
        let (one, other) = (buffers.join(), buffers.join());
        let long = [b"y".repeat(CHUNK), b"\n".to_vec()].concat();
        other.add(b"first\n");
        one.add(b"second\n");
        other.add(&long);
        one.add(b"second, too\n");
        let chunks: Vec<_> = buffers.collect().into_iter().map(|chunk| chunk.lines).collect();
        assert_eq!(chunks, [b"first\n".to_vec(), b"second\nsecond, too\n".to_vec(), long]);
    }

    #[test]
    fn a_node_with_many_workers_has_room_for_a_line_of_each() {
        let buffers = Buffers::new(512);
        let workers: Vec<_> = (0..512).map(|_| buffers.join()).collect();
        workers.iter().for_each(|own| own.add(b"a line\n"));
        assert_eq!((buffers.collect().len(), buffers.dropped()), (512, 0));
    }
}
