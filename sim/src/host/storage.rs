//! What is on the disks of a host, and what a power loss leaves of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entropy::mix;
use crate::plan::DiskFails;

/// The disks of one host, by name.
#[derive(Debug, Default)]
pub(crate) struct Disks {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<Storage>>>,
    fails: Arc<Failing>,
}

/// What fails of all disks of a host.
type Failing = Mutex<Option<DiskFails>>;

/// What is on one disk.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    state: Mutex<State>,
    fails: Arc<Failing>,
}

/// Why a disk did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No process runs that could use it.
    Stopped,
    /// A fault has it fail.
    Failing,
}

#[derive(Debug, Default, Clone)]
struct State {
    bytes: Vec<u8>,
    /// How many of them a power loss keeps for sure.
    synced: usize,
    /// Whether what comes behind these was there when a sync failed: no later sync keeps it, nor anything behind it.
    is_doubtful: bool,
    /// Whether no process runs that could use it.
    is_stopped: bool,
    /// Whether the process has just been started, and nothing written: that works, or it could not be.
    is_starting: bool,
}

impl Disks {
    /// The disk of this name, with its name; an empty one at first.
    pub(crate) fn get(&self, name: &str) -> (Arc<str>, Arc<Storage>) {
        let mut disks = locked(&self.by_name);
        if let Some((name, disk)) = disks.get_key_value(name) {
            return (Arc::clone(name), Arc::clone(disk));
        }
        let disk = Storage { fails: Arc::clone(&self.fails), ..Storage::default() };
        let (name, disk): (Arc<str>, Arc<Storage>) = (name.into(), Arc::new(disk));
        disks.insert(Arc::clone(&name), Arc::clone(&disk));
        (name, disk)
    }

    pub(super) fn stop(&self) {
        locked(&self.by_name).values().for_each(|disk| locked(&disk.state).is_stopped = true);
    }

    /// Has them fail, or fail no more.
    pub(crate) fn set_failing(&self, fails: Option<DiskFails>) {
        *locked(&self.fails) = fails;
    }

    pub(crate) fn are_failing(&self) -> bool {
        locked(&self.fails).is_some()
    }

    pub(super) fn start(&self) {
        self.set_failing(None);
        for disk in locked(&self.by_name).values() {
            let mut state = locked(&disk.state);
            (state.is_stopped, state.is_starting) = (false, true);
        }
    }

    /// Takes what was not synced, but for what `seed` lets survive; what each disk lost.
    pub(crate) fn lose_power(&self, seed: u64) -> Vec<(Arc<str>, Vec<u8>)> {
        let disks = locked(&self.by_name);
        let lose = |(number, (name, disk)): (u64, (&Arc<str>, &Arc<Storage>))| {
            (Arc::clone(name), disk.lose_power(mix(seed.wrapping_add(number))))
        };
        (0..).zip(disks.iter()).map(lose).collect()
    }
}

impl Storage {
    /// All that is on it.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Trouble> {
        Ok(self.running()?.bytes.clone())
    }

    /// Half of the bytes are written where that fails.
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut state = self.running()?;
        let works = self.works(&mut state, false);
        let written = if works.is_ok() { bytes.len() } else { bytes.len() / 2 };
        state.bytes.extend_from_slice(&bytes[..written]);
        works
    }

    pub(crate) fn sync(&self) -> Result<(), Trouble> {
        let mut state = self.running()?;
        let works = self.works(&mut state, true);
        state.is_doubtful |= works.is_err() && state.synced < state.bytes.len();
        if !state.is_doubtful {
            state.synced = state.bytes.len();
        }
        works
    }

    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut state = self.running()?;
        self.works(&mut state, true)?;
        *state = State { bytes: bytes.to_vec(), synced: bytes.len(), ..State::default() };
        Ok(())
    }

    /// Whether what is asked for is done: a sync, or all that is to be durable at once, or else what is appended.
    fn works(&self, state: &mut State, is_sync: bool) -> Result<(), Trouble> {
        let is_first = std::mem::take(&mut state.is_starting);
        let mut fails = locked(&self.fails);
        let has_failed = match *fails {
            None => false,
            Some(DiskFails::Syncs) => is_sync,
            Some(DiskFails::Everything | DiskFails::Once) => true,
        };
        if !has_failed || is_first {
            return Ok(());
        }
        fails.take_if(|fails| *fails == DiskFails::Once);
        Err(Trouble::Failing)
    }

    /// Keeps what was synced, and of what was appended since then as many bytes as `draw` says, from the front.
    fn lose_power(&self, draw: u64) -> Vec<u8> {
        let mut state = locked(&self.state);
        let unsynced = (state.bytes.len() - state.synced) as u64;
        let survives =
            usize::try_from(draw % (unsynced + 1)).expect("it is no more than the bytes there are");
        state.synced += survives;
        let kept = state.synced;
        // What is on it now was read back from it.
        state.is_doubtful = false;
        state.bytes.split_off(kept)
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, Trouble> {
        let state = locked(&self.state);
        if state.is_stopped { Err(Trouble::Stopped) } else { Ok(state) }
    }
}

/// A panic elsewhere leaves what is on a disk as it was: no change here can panic half way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_power_loss(synced: &[u8], unsynced: &[u8], seed: u64) -> Vec<u8> {
        let disks = Disks::default();
        let (_, disk) = disks.get("log");
        disk.append(synced).unwrap();
        disk.sync().unwrap();
        disk.append(unsynced).unwrap();
        disks.lose_power(seed);
        disk.read().unwrap()
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced_and_a_drawn_part_of_the_rest() {
        let lengths: std::collections::BTreeSet<_> = (0..100)
            .map(|seed| {
                let left = after_power_loss(b"synced", b"lost", seed);
                assert!(left.starts_with(b"synced") && b"syncedlost".starts_with(&left), "{left:?}");
                assert_eq!(left, after_power_loss(b"synced", b"lost", seed));
                left.len()
            })
            .collect();
        assert_eq!(lengths, (6..=10).collect());
    }

    #[test]
    fn what_survived_one_power_loss_survives_the_next() {
        let disks = Disks::default();
        let (_, disk) = disks.get("log");
        disk.append(b"a long line that is not synced").unwrap();
        disks.lose_power(3);
        let left = disk.read().unwrap();
        disks.lose_power(4);
        assert_eq!(disk.read().unwrap(), left);
    }

    #[test]
    fn a_stopped_process_keeps_all_that_it_wrote_and_writes_no_more() {
        let disks = Disks::default();
        let (_, disk) = disks.get("log");
        disk.append(b"written").unwrap();
        disks.stop();
        assert_eq!(disk.append(b"late").and(disk.replace(b"late")).and(disk.sync()), Err(Trouble::Stopped));
        disks.start();
        assert_eq!(disk.read().unwrap(), b"written");
    }

    #[test]
    fn what_is_replaced_is_durable_at_once() {
        let disks = Disks::default();
        let (_, disk) = disks.get("log");
        disk.append(b"old").unwrap();
        disk.replace(b"new and longer").unwrap();
        disks.lose_power(1);
        assert_eq!(disk.read().unwrap(), b"new and longer");
    }

    #[test]
    fn a_disk_that_fails_once_works_from_then_on() {
        let disks = Disks::default();
        let (_, disk) = disks.get("log");
        disks.set_failing(Some(DiskFails::Once));
        assert_eq!(
            (disk.append(b"half"), disk.append(b"whole"), disk.sync()),
            (Err(Trouble::Failing), Ok(()), Ok(()))
        );
        assert_eq!(disk.read().unwrap(), b"hawhole");
    }

    #[test]
    fn a_disk_of_which_only_syncs_fail_takes_what_is_appended() {
        let disks = Disks::default();
        let (_, disk) = disks.get("log");
        disks.set_failing(Some(DiskFails::Syncs));
        assert_eq!((disk.append(b"all"), disk.sync()), (Ok(()), Err(Trouble::Failing)));
        assert_eq!(disk.read().unwrap(), b"all");
    }

    #[test]
    fn a_failing_disk_writes_half_and_what_a_sync_failed_for_is_lost_with_the_power_unless_all_is_replaced() {
        for is_replaced in [false, true] {
            let disks = Disks::default();
            let (_, disk) = disks.get("log");
            disk.append(b"kept").unwrap();
            disk.sync().unwrap();
            disks.set_failing(Some(DiskFails::Everything));
            let failed = Err(Trouble::Failing);
            assert_eq!((disk.append(b"half"), disk.sync(), disk.replace(b"none")), (failed, failed, failed));
            disks.set_failing(None);
            disk.append(b"more").unwrap();
            if is_replaced {
                disk.replace(&disk.read().unwrap()).unwrap();
            }
            disk.sync().unwrap();
            assert_eq!(disk.read().unwrap(), b"kepthamore");
            let left = (0..50).map(|seed| disk.left_after(seed)).min();
            assert_eq!(left, Some(if is_replaced { 10 } else { 4 }));
        }
    }

    impl Storage {
        /// How many bytes a power loss would leave.
        fn left_after(&self, seed: u64) -> usize {
            let state = locked(&self.state).clone();
            let copy = Self { state: Mutex::new(state), ..Self::default() };
            copy.lose_power(mix(seed));
            copy.read().unwrap().len()
        }
    }
}
