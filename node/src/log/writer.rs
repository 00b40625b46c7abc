//! The thread that writes the log: it collects what threads have logged, and sleeps while nobody logs.
//!
//! Nothing waits for it but the end of the process, and that only so long as it says.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, park, park_timeout};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Level, enabled, warn};

use super::buffers::Buffers;
use super::lines::collect_here;
use super::sink::Sink;

/// A line is written so long after it was logged, when nobody logs more.
const DELAY: Duration = Duration::from_millis(5);

/// Dropped lines are reported when there is room for the report, and so often at the most.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What asks the writing thread to write.
#[derive(Debug)]
pub(super) struct Writer {
    buffers: Arc<Buffers>,
    flushes: Arc<Flushes>,
}

impl Writer {
    /// Starts the thread that writes what is in `buffers` to `sink`.
    pub(super) fn start(buffers: Arc<Buffers>, sink: File) -> io::Result<Self> {
        let flushes = Arc::<Flushes>::default();
        let writing = Writing {
            buffers: buffers.clone(),
            flushes: flushes.clone(),
            sink: Sink::to(sink),
            failure: None,
            reported: 0,
            reported_at: None,
        };
        let thread = spawn(writing)?;
        buffers.written_by(thread.thread().clone());
        Ok(Self { buffers, flushes })
    }

    /// Writes what was logged before. Gives up after `limit`: it depends on who reads whether it can be written.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.flushes.lock();
        state.asked += 1;
        let mine = state.asked;
        self.buffers.wake();
        let is_due = |state: &mut Flush| state.done < mine;
        drop(self.flushes.written.wait_timeout_while(state, limit, is_due));
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the log is written off the way of calls, and never in a rehearsal"
)]
fn spawn(mut writing: Writing) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.run())
}

/// How often it was asked to write all, and which of these have been done.
#[derive(Debug, Default)]
struct Flushes {
    state: Mutex<Flush>,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Flush {
    asked: u64,
    done: u64,
}

impl Flushes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Flush> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the writing thread has.
struct Writing {
    buffers: Arc<Buffers>,
    flushes: Arc<Flushes>,
    sink: Sink<File>,
    /// Why lines could not be written, when they could not.
    failure: Option<io::Error>,
    /// How many of the dropped lines were reported, and when.
    reported: u64,
    reported_at: Option<Instant>,
}

impl Writing {
    fn run(&mut self) -> ! {
        loop {
            self.sleep();
            loop {
                park_timeout(DELAY);
                if !self.write_all() {
                    break;
                }
            }
        }
    }

    /// Sleeps until somebody logs, or until it is time to report what was dropped.
    fn sleep(&self) {
        self.buffers.writer_sleeps(true);
        if self.buffers.are_empty() {
            match self.report_is_due_in() {
                Some(left) => park_timeout(left),
                None => park(),
            }
        }
        self.buffers.writer_sleeps(false);
    }

    /// Writes all that waits; whether there was something.
    fn write_all(&mut self) -> bool {
        let asked = self.flushes.lock().asked;
        let chunks = self.buffers.collect();
        let wrote = !chunks.is_empty();
        for chunk in chunks {
            self.write(&chunk.lines);
            self.buffers.give_back(chunk);
        }
        let is_flush = asked > self.flushes.lock().done;
        if self.report_is_due_in().is_some_and(|left| is_flush || left.is_zero()) {
            self.report();
        }
        self.flushes.lock().done = asked;
        self.flushes.written.notify_all();
        wrote
    }

    /// None: all was reported.
    fn report_is_due_in(&self) -> Option<Duration> {
        let due = |at: Instant| (at + REPORT_EVERY).saturating_duration_since(Instant::now());
        (self.buffers.dropped() > self.reported).then(|| self.reported_at.map_or(Duration::ZERO, due))
    }

    fn report(&mut self) {
        let (before, dropped) = (self.reported, self.buffers.dropped());
        self.reported = dropped;
        self.reported_at = Some(Instant::now());
        if !enabled!(target: "node::log", Level::WARN) {
            return;
        }
        let (lines, error) = (dropped - before, self.failure.as_ref().map(ToString::to_string));
        warn!(target: "node::log", lines, error, "log lines were dropped: {}", self.why());
        let chunks = collect_here();
        let mut is_told = !chunks.is_empty();
        for chunk in chunks {
            is_told &= self.write(&chunk.lines);
            self.buffers.give_back(chunk);
        }
        match is_told {
            true => self.failure = None,
            // There was no room, or no way, for it either. It is none of the lines that it was to count.
            false => {
                self.reported = before;
                self.buffers.take_back_a_drop();
            }
        }
    }

    fn why(&self) -> &'static str {
        match self.failure {
            Some(_) => "they could not be written",
            None => "they came faster than they could be written",
        }
    }

    /// Whether all of `lines` were written; those that could not be are dropped.
    fn write(&mut self, lines: &[u8]) -> bool {
        let Err((error, left)) = self.sink.write(lines) else { return true };
        self.failure = Some(error);
        self.buffers.drop_lines(left.iter().filter(|byte| **byte == b'\n').count() as u64);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::super::buffers::CHUNK;
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn socket() -> (UnixStream, File) {
        let (ours, its) = UnixStream::pair().expect("a pair of sockets can be made");
        ours.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        (ours, File::from(OwnedFd::from(its)))
    }

    #[test]
    fn a_line_is_written_by_itself_and_nobody_flushes() {
        let (mut reader, sink) = socket();
        let buffers = Buffers::new(1);
        let _writer = Writer::start(buffers.clone(), sink).expect("a thread starts");
        let own = buffers.join();
        for line in [b"one\n", b"two\n"] {
            own.add(line);
            let mut read = [0; 4];
            reader.read_exact(&mut read).expect("it is written soon");
            assert_eq!(&read, line);
        }
    }

    #[test]
    fn a_flush_ends_when_all_is_written_or_when_its_time_is_over() {
        let (mut reader, sink) = socket();
        let buffers = Buffers::new(1);
        let writer = Writer::start(buffers.clone(), sink).expect("a thread starts");
        let own = buffers.join();
        own.add(b"one\n");
        writer.flush(SOON);
        assert!(buffers.are_empty());
        reader.read_exact(&mut [0; 4]).expect("it was written");
        let line = [b"x".repeat(CHUNK - 1), b"\n".to_vec()].concat();
        (0..64).for_each(|_| own.add(&line));
        let begun = Instant::now();
        writer.flush(Duration::from_millis(50));
        assert!((Duration::from_millis(50)..SOON).contains(&begun.elapsed()));
        own.add(b"last\n");
        (0..64).for_each(|_| reader.read_exact(&mut vec![0; CHUNK]).expect("it waited to be read"));
        writer.flush(SOON);
        reader.read_exact(&mut [0; 5]).expect("it was written");
    }

    #[test]
    fn lines_are_counted_that_a_full_disk_does_not_take() {
        let sink = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let buffers = Buffers::new(1);
        let writer = Writer::start(buffers.clone(), sink).expect("a thread starts");
        let own = buffers.join();
        (0..1000).for_each(|_| own.add(b"a line\n"));
        writer.flush(SOON);
        assert_eq!(buffers.dropped(), 1000);
    }
}
