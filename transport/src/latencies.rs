//! How long the calls of each method take of late: 95 of 100 are quicker than the wait before a hedge.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many calls of a method are remembered.
const WINDOW: usize = 64;

/// From so many calls on they tell something.
const ENOUGH: usize = 16;

/// What is usual is found anew after so many calls.
const EVERY: usize = 8;

/// Of the methods of one service whose calls may be hedged. Held for moments, and by one worker.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Mutex<Vec<Window>>);

/// The last calls of one method.
#[derive(Debug)]
struct Window {
    path: &'static str,
    /// In the order in which they came, and from `next` on the oldest again once it is full.
    samples: Vec<Duration>,
    next: usize,
    /// What 95 of 100 took no longer than; none while too few are known.
    usual: Option<Duration>,
}

impl Latencies {
    /// A call of the method at `path` worked, and took so long.
    pub(crate) fn note(&self, path: &'static str, took: Duration) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = windows.iter().position(|window| window.path == path);
        let at = known.unwrap_or_else(|| {
            windows.push(Window { path, samples: Vec::with_capacity(WINDOW), next: 0, usual: None });
            windows.len() - 1
        });
        windows[at].note(took);
    }

    /// What 95 of 100 calls of the method at `path` stay below; none while too few are known.
    pub(crate) fn usual(&self, path: &str) -> Option<Duration> {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.iter().find(|window| window.path == path)?.usual
    }
}

impl Window {
    fn note(&mut self, took: Duration) {
        match self.samples.get_mut(self.next) {
            Some(oldest) => *oldest = took,
            None => self.samples.push(took),
        }
        self.next = (self.next + 1) % WINDOW;
        if self.samples.len() >= ENOUGH && self.next.is_multiple_of(EVERY) {
            let mut samples = self.samples.clone();
            let (_, usual, _) = samples.select_nth_unstable(self.samples.len() * 95 / 100);
            self.usual = Some(*usual);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_what_the_last_calls_took() {
        let latencies = Latencies::default();
        let note = |ms: std::ops::Range<u64>| {
            ms.for_each(|ms| latencies.note("/a.B/C", Duration::from_millis(ms)));
        };
        note(0..15);
        assert_eq!(latencies.usual("/a.B/C"), None, "too few");
        note(15..24);
        assert_eq!(latencies.usual("/a.B/C"), Some(Duration::from_millis(22)));
        note(1000..1064);
        assert_eq!(latencies.usual("/a.B/C"), Some(Duration::from_millis(1060)), "what is old is forgotten");
        note(0..7);
        assert_eq!(
            latencies.usual("/a.B/C"),
            Some(Duration::from_millis(1060)),
            "it is not found anew with each call"
        );
        assert_eq!(latencies.usual("/a.B/D"), None);
    }
}
