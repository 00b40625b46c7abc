//! What the notes of a log come to, at a time: all that is still to be kept.

use std::collections::BTreeMap;
use std::time::Duration;

use transport::store::{Begun, Ended, Note, Recalled, Unknown, What};

/// The keys that are still to be kept, by service and key.
#[derive(Debug, Default)]
pub(super) struct Live(BTreeMap<(String, String), Call>);

#[derive(Debug)]
struct Call {
    begun: Begun,
    end: End,
}

#[derive(Debug)]
enum End {
    /// Its handler runs, or the process has ended that ran it.
    None,
    Ended(Ended),
    Unknown(Unknown),
}

impl Live {
    /// What is left at `now`, in milliseconds since 1970.
    pub(super) fn of(notes: Vec<Note>, now: u64) -> Self {
        let mut live = Self::default();
        notes.into_iter().for_each(|note| live.add(note));
        live.0.retain(|_, call| call.until().is_none_or(|until| until > now));
        live
    }

    fn add(&mut self, note: Note) {
        let name = (note.service, note.key);
        match note.what {
            Some(What::Begun(begun)) => drop(self.0.insert(name, Call { begun, end: End::None })),
            Some(What::Ended(ended)) => self.end(&name, End::Ended(ended)),
            Some(What::Unknown(unknown)) => self.end(&name, End::Unknown(unknown)),
            Some(What::Forgotten(_)) => drop(self.0.remove(&name)),
            None => {}
        }
    }

    fn end(&mut self, name: &(String, String), end: End) {
        if let Some(call) = self.0.get_mut(name) {
            call.end = end;
        }
    }

    /// The process that ran them is gone: what has not ended is unknown, `until` then.
    pub(super) fn give_up_running(&mut self, until: u64) {
        for call in self.0.values_mut().filter(|call| matches!(call.end, End::None)) {
            call.end = End::Unknown(Unknown { until });
        }
    }

    /// The notes that say all of this.
    pub(super) fn notes(&self) -> impl Iterator<Item = Note> {
        self.0.iter().flat_map(|((service, key), call)| {
            let end = match &call.end {
                End::None => None,
                End::Ended(ended) => Some(What::Ended(ended.clone())),
                End::Unknown(unknown) => Some(What::Unknown(*unknown)),
            };
            let note = |what| Note { service: service.clone(), key: key.clone(), what: Some(what) };
            [Some(What::Begun(call.begun.clone())), end].into_iter().flatten().map(note)
        })
    }

    /// For the memory of a process that starts at `now`, where nothing is remembered for longer than `kept_for`: the
    /// wall clock may have been set back.
    pub(super) fn recalled(self, now: u64, kept_for: Duration) -> Vec<Recalled> {
        let recalled = self.0.into_iter().map(|((service, key), call)| {
            let left =
                call.until().map_or(kept_for, |until| Duration::from_millis(until.saturating_sub(now)));
            let ended = if let End::Ended(ended) = call.end { Some(ended) } else { None };
            Recalled { service, key, begun: call.begun, ended, left: left.min(kept_for) }
        });
        recalled.collect()
    }
}

impl Call {
    fn until(&self) -> Option<u64> {
        match &self.end {
            End::None => None,
            End::Ended(ended) => Some(ended.until),
            End::Unknown(unknown) => Some(unknown.until),
        }
    }
}
