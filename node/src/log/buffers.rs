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
