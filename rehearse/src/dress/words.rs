//! Names that lines of processes have, as if they were literals of this program, as those of simulated hosts are.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// As many as no program has literals that become names in its lines.
const MOST: usize = 4096;

/// The word, kept for as long as the program runs. Names are literals in the code of a node, so there are few; beyond the
/// bound all are the same.
pub(super) fn kept(word: &str) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(word) {
        return known;
    }
    if words.len() >= MOST {
        return "one name too many";
    }
    let kept: &'static str = Box::leak(word.to_owned().into_boxed_str());
    words.insert(kept);
    kept
}
