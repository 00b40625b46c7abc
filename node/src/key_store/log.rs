//! The log of notes on its disk: appended to, synced, and written anew.

use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use transport::store::{Note, Recalled, What};

use super::frames::{self, HEAD};
use super::live::Live;
use crate::disk::Disk;
use crate::wall_clock::wall_clock;

/// A log may have so much that is old, in bytes, besides as much as there was when it was written anew.
const OLD_MAX: usize = 1024 * 1024;

/// The log of a store.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    kept_for: Duration,
    /// Its size, in bytes, and what it was when it was last written anew.
    size: usize,
    size_anew: usize,
    /// Whether something could not be written, so that nobody knows what its end is.
    is_broken: bool,
}

/// What a log had when it was opened.
pub(super) struct Found {
    pub(super) recalled: Vec<Recalled>,
    /// How many bytes of its end were not whole.
    pub(super) torn: usize,
}

impl Log {
    /// Reads what there is, and writes it anew: without an end that is not whole, which would be continued otherwise.
    ///
    /// # Errors
    ///
    /// If the disk fails, or has something else.
    pub(super) fn open(disk: Arc<dyn Disk>, kept_for: Duration) -> io::Result<(Self, Found)> {
        let (notes, torn) = frames::read(disk.read()?.into())?;
        let now = now();
        let mut live = Live::of(notes, now);
        live.give_up_running(later(now, kept_for));
        let mut log = Self { disk, kept_for, size: 0, size_anew: 0, is_broken: false };
        log.write_anew(&live)?;
        Ok((log, Found { recalled: live.recalled(now, kept_for), torn }))
    }

    /// Writes a note to the end. A power loss may take it until [`Self::sync`].
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub(super) fn append(&mut self, mut note: Note) -> io::Result<()> {
        if let Some(What::Ended(ended)) = &mut note.what {
            ended.until = later(now(), self.kept_for);
        }
        if self.is_broken || self.size > self.size_anew * 2 + OLD_MAX {
            let (notes, _) = frames::read(self.disk.read()?.into())?;
            self.write_anew(&Live::of(notes, now()))?;
        }
        let mut frame = Vec::new();
        frames::write(&note, &mut frame)?;
        let appended = self.disk.append(&frame);
        self.is_broken = appended.is_err();
        self.size += frame.len();
        appended
    }

    /// Returns when no power loss takes away what was appended.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.disk.sync();
        // What was written since the last sync may be lost then, whatever a later one says.
        self.is_broken |= synced.is_err();
        synced
    }

    fn write_anew(&mut self, live: &Live) -> io::Result<()> {
        let mut log = HEAD.to_vec();
        live.notes().try_for_each(|note| frames::write(&note, &mut log))?;
        self.disk.replace(&log)?;
        (self.size, self.size_anew, self.is_broken) = (log.len(), log.len(), false);
        Ok(())
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn later(now: u64, by: Duration) -> u64 {
    now.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use transport::store::{Begun, Ended, Forgotten};

    use super::*;
    use crate::disk::{Disk, Memory};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A disk that may be full: it writes half of what it is given then. It counts how often all of it was replaced.
    #[derive(Clone, Default)]
    struct Filling(Memory, Arc<AtomicBool>, Arc<AtomicUsize>);

    impl Filling {
        fn fill(&self, is_full: bool) {
            self.1.store(is_full, Ordering::Relaxed);
        }

        fn write(&self, bytes: &[u8], write: impl Fn(&Memory, &[u8]) -> io::Result<()>) -> io::Result<()> {
            if self.1.load(Ordering::Relaxed) {
                self.0.append(&bytes[..bytes.len() / 2])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            write(&self.0, bytes)
        }
    }

    impl Disk for Filling {
        fn read(&self) -> io::Result<Vec<u8>> {
            self.0.read()
        }

        fn append(&self, bytes: &[u8]) -> io::Result<()> {
            self.write(bytes, Memory::append)
        }

        fn sync(&self) -> io::Result<()> {
            self.write(&[], |disk, _| disk.sync())
        }

        fn replace(&self, bytes: &[u8]) -> io::Result<()> {
            if self.1.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.2.fetch_add(1, Ordering::Relaxed);
            self.0.replace(bytes)
        }
    }

    fn note(key: &str, what: What) -> Note {
        Note { service: "tally".to_owned(), key: key.to_owned(), what: Some(what) }
    }

    fn begun(key: &str) -> Note {
        let request = vec![0; 1000].into();
        note(key, What::Begun(Begun { path: "/Tally/Enter".to_owned(), request }))
    }

    fn open(disk: &Filling) -> (Log, Found) {
        Log::open(Arc::new(disk.clone()), HOUR).expect("it is a log")
    }

    fn keys(found: &Found) -> Vec<&str> {
        found.recalled.iter().map(|recalled| &*recalled.key).collect()
    }

    #[test]
    fn what_was_written_is_recalled_until_it_is_forgotten_or_its_time_is_over() {
        let disk = Filling::default();
        let (mut log, _) = open(&disk);
        for key in ["begun", "ended", "forgotten"] {
            log.append(begun(key)).expect("it writes");
        }
        log.append(note("ended", What::Ended(Ended::default()))).expect("it writes");
        log.append(note("forgotten", What::Forgotten(Forgotten {}))).expect("it writes");
        let found = open(&disk).1;
        assert_eq!(keys(&found), ["begun", "ended"]);
        assert_eq!(found.recalled.iter().map(|key| key.ended.is_some()).collect::<Vec<_>>(), [false, true]);
        assert!(found.recalled.iter().all(|key| HOUR - key.left < Duration::from_secs(60)));
        let (notes, _) = frames::read(disk.read().expect("it reads").into()).expect("it is a log");
        let after = Live::of(notes, later(now(), HOUR * 2)).recalled(0, HOUR);
        assert_eq!(after, [], "both are over an hour later, also the one that never ended");
    }

    #[test]
    fn nothing_is_written_behind_an_end_that_is_not_whole() {
        let disk = Filling::default();
        open(&disk).0.append(begun("a")).expect("it writes");
        disk.append(b"half of a no").expect("it writes");
        let (mut log, found) = open(&disk);
        assert_eq!((keys(&found), found.torn), (vec!["a"], 12));
        log.append(begun("b")).expect("it writes");
        let found = open(&disk).1;
        assert_eq!((keys(&found), found.torn), (vec!["a", "b"], 0));
    }

    #[test]
    fn where_a_note_was_written_in_part_the_log_is_written_anew_before_the_next() {
        let disk = Filling::default();
        let (mut log, _) = open(&disk);
        log.append(begun("a")).expect("it writes");
        disk.fill(true);
        for _ in 0..2 {
            let error = log.append(begun("b")).expect_err("it is full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        disk.fill(false);
        log.append(begun("c")).expect("there is room");
        let found = open(&disk).1;
        assert_eq!((keys(&found), found.torn), (vec!["a", "c"], 0));
    }

    #[test]
    fn where_a_sync_has_failed_the_log_is_written_anew_though_the_next_one_works() {
        let disk = Filling::default();
        let (mut log, _) = open(&disk);
        log.append(begun("a")).expect("it writes");
        disk.fill(true);
        log.sync().expect_err("it is full");
        disk.fill(false);
        log.sync().expect("there is room");
        let replaced = disk.2.load(Ordering::Relaxed);
        log.append(begun("b")).expect("it writes");
        assert_eq!(disk.2.load(Ordering::Relaxed), replaced + 1);
    }

    #[test]
    fn an_answer_carries_when_it_is_forgotten_by_the_clock_on_the_wall() {
        const OF_2026: u64 = 1_767_225_600_000;
        let disk = Filling::default();
        open(&disk).0.append(note("ended", What::Ended(Ended::default()))).expect("it writes");
        let (notes, _) = frames::read(disk.read().expect("it reads").into()).expect("it is a log");
        assert!(matches!(&notes[0].what, Some(What::Ended(ended)) if ended.until > OF_2026), "{notes:?}");
    }

    #[test]
    fn a_log_is_no_larger_than_twice_what_is_kept_and_so_much_more() {
        let disk = Filling::default();
        let (mut log, _) = open(&disk);
        log.append(begun("kept")).expect("it writes");
        for round in 0..5000 {
            log.append(begun(&format!("{round}"))).expect("it writes");
            log.append(note(&format!("{round}"), What::Forgotten(Forgotten {}))).expect("it writes");
        }
        assert!(log.size < OLD_MAX + 8 * 1024, "{} bytes for one key", log.size);
        assert_eq!(log.size, disk.read().expect("it reads").len());
        assert_eq!(keys(&open(&disk).1), ["kept"]);
    }

    #[test]
    fn a_log_is_written_anew_when_it_is_larger_than_twice_what_was_kept_and_a_mebibyte_and_not_before() {
        const MEBIBYTE: usize = 1024 * 1024;
        let disk = Filling::default();
        let (mut log, _) = open(&disk);
        for key in 0..2000 {
            log.append(begun(&format!("{key}"))).expect("it writes");
        }
        let (mut log, _) = open(&disk);
        let (kept, replaced) = (log.size, disk.2.load(Ordering::Relaxed));
        assert!(kept > 2 * MEBIBYTE / 10 * 9, "{kept}");
        while log.size < kept * 2 + MEBIBYTE / 10 * 9 {
            log.append(begun("again")).expect("it writes");
        }
        assert_eq!(disk.2.load(Ordering::Relaxed), replaced);
        for _ in 0..200 {
            log.append(begun("again")).expect("it writes");
        }
        assert_eq!(disk.2.load(Ordering::Relaxed), replaced + 1);
    }

    #[test]
    fn what_is_somebody_elses_is_left_as_it_is() {
        let disk = Filling::default();
        disk.append(b"dear diary").expect("it writes");
        assert!(Log::open(Arc::new(disk.clone()), HOUR).is_err());
        assert_eq!(disk.read().expect("it reads"), b"dear diary");
    }
}
