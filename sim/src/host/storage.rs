//! What is on the disks of a host, and what a power loss leaves of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entropy::mix;

/// The disks of one host, by name.
#[derive(Debug, Default)]
pub(crate) struct Disks {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<Storage>>>,
}

/// What is on one disk.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// How many of them a power loss keeps for sure.
    synced: usize,
    /// Whether no process runs that could use it.
    is_stopped: bool,
}

impl Disks {
    /// The disk of this name, with its name; an empty one at first.
    pub(crate) fn get(&self, name: &str) -> (Arc<str>, Arc<Storage>) {
        let mut disks = locked(&self.by_name);
        if let Some((name, disk)) = disks.get_key_value(name) {
            return (Arc::clone(name), Arc::clone(disk));
        }
        let (name, disk): (Arc<str>, Arc<Storage>) = (name.into(), Arc::default());
        disks.insert(Arc::clone(&name), Arc::clone(&disk));
        (name, disk)
    }

    pub(super) fn stop(&self) {
        locked(&self.by_name).values().for_each(|disk| locked(&disk.state).is_stopped = true);
    }

    pub(super) fn start(&self) {
        locked(&self.by_name).values().for_each(|disk| locked(&disk.state).is_stopped = false);
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
    /// All that is on it; `None` while no process runs.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        Some(self.running()?.bytes.clone())
    }

    pub(crate) fn append(&self, bytes: &[u8]) -> Option<()> {
        self.running()?.bytes.extend_from_slice(bytes);
        Some(())
    }

    pub(crate) fn sync(&self) -> Option<()> {
        let mut state = self.running()?;
        state.synced = state.bytes.len();
        Some(())
    }

    pub(crate) fn replace(&self, bytes: &[u8]) -> Option<()> {
        let mut state = self.running()?;
        (state.bytes, state.synced) = (bytes.to_vec(), bytes.len());
        Some(())
    }

    /// Keeps what was synced, and of what was appended since then as many bytes as `draw` says, from the front.
    fn lose_power(&self, draw: u64) -> Vec<u8> {
        let mut state = locked(&self.state);
        let unsynced = (state.bytes.len() - state.synced) as u64;
        let survives =
            usize::try_from(draw % (unsynced + 1)).expect("it is no more than the bytes there are");
        state.synced += survives;
        let kept = state.synced;
        state.bytes.split_off(kept)
    }

    fn running(&self) -> Option<MutexGuard<'_, State>> {
        let state = locked(&self.state);
        (!state.is_stopped).then_some(state)
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
        assert_eq!((disk.append(b"late"), disk.replace(b"late"), disk.sync()), (None, None, None));
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
}
