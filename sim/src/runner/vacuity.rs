//! Promises that met nothing to judge: they would hold whatever the program did.
//!
//! All scenarios are judged together, by the promise's name. One scenario alone may well give a promise nothing to do:
//! where nothing drains, a promise about drains holds by itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::rehearsal::Rehearsal;

/// How often each promise had something to judge.
#[derive(Debug, Default)]
pub(super) struct Vacuity {
    met: BTreeMap<String, u64>,
    rehearsals: u64,
}

impl Vacuity {
    /// Adds one rehearsal.
    pub(super) fn add(&mut self, rehearsal: &Rehearsal) {
        self.add_all(rehearsal.met.iter().map(|(promise, met)| (promise.as_str(), *met)));
    }

    fn add_all<'a>(&mut self, met: impl Iterator<Item = (&'a str, u64)>) {
        self.rehearsals += 1;
        for (promise, met) in met {
            *self.met.entry(promise.to_owned()).or_default() += met;
        }
    }

    /// Whether a promise met nothing.
    pub(super) fn is_there(&self) -> bool {
        self.met.values().any(|met| *met == 0)
    }
}

/// One line for each promise that met nothing.
impl fmt::Display for Vacuity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (promise, _) in self.met.iter().filter(|(_, met)| **met == 0) {
            writeln!(f, "vacuous: {promise}: there was nothing to judge in {} rehearsals", self.rehearsals)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_vacuous_if_no_scenario_gave_it_anything_to_judge() {
        let mut vacuity = Vacuity::default();
        vacuity.add_all([("a drain loses nothing", 0), ("ids come back", 40), ("never", 0)].into_iter());
        assert!(vacuity.is_there());
        vacuity.add_all([("a drain loses nothing", 2)].into_iter());
        assert_eq!(vacuity.to_string(), "vacuous: never: there was nothing to judge in 2 rehearsals\n");
    }
}
