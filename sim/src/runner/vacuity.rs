//! Promises that met nothing to judge: they would hold whatever the program did. Also names for which a promise asks and
//! that no event knows: what is asked for by a misspelt name is never judged.
//!
//! All scenarios are judged together, by the promise's name. One scenario alone may well give a promise nothing to do:
//! where nothing drains, a promise about drains holds by itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::rehearsal::Rehearsal;
use crate::trace::questions::Question;

/// How often each promise had something to judge.
#[derive(Debug, Default)]
pub(super) struct Vacuity {
    promises: BTreeMap<String, Judged>,
    rehearsals: u64,
}

#[derive(Debug, Default)]
struct Judged {
    met: u64,
    /// What it asks events for, and whether any event had that.
    asked: BTreeMap<Question, bool>,
}

impl Vacuity {
    /// Adds one rehearsal.
    pub(super) fn add(&mut self, rehearsal: &Rehearsal) {
        self.add_all(rehearsal.met.iter().map(|(promise, met)| (promise.as_str(), *met)));
        for (promise, questions) in &rehearsal.asked {
            questions.iter().for_each(|(question, is_answered)| self.ask(promise, question, is_answered));
        }
    }

    fn add_all<'a>(&mut self, met: impl Iterator<Item = (&'a str, u64)>) {
        self.rehearsals += 1;
        for (promise, met) in met {
            self.promises.entry(promise.to_owned()).or_default().met += met;
        }
    }

    fn ask(&mut self, promise: &str, question: &Question, is_answered: bool) {
        let asked = &mut self.promises.entry(promise.to_owned()).or_default().asked;
        *asked.entry(question.clone()).or_default() |= is_answered;
    }

    /// Whether a promise met nothing.
    pub(super) fn is_there(&self) -> bool {
        self.promises.values().any(|judged| judged.met == 0)
    }
}

impl Judged {
    fn unanswered(&self) -> Vec<String> {
        let unanswered = self.asked.iter().filter(|(_, is_answered)| !**is_answered);
        unanswered.map(|(question, _)| question.to_string()).collect()
    }
}

/// One line for each promise that met nothing, and a note for each other one that asks for what is never there. That is
/// no failure: what is asked for may be rare.
impl fmt::Display for Vacuity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rehearsals = self.rehearsals;
        for (promise, judged) in &self.promises {
            let unanswered = judged.unanswered().join(", ");
            match (judged.met, unanswered.as_str()) {
                (0, "") => {
                    writeln!(f, "vacuous: {promise}: there was nothing to judge in {rehearsals} rehearsals")?;
                }
                (0, _) => writeln!(
                    f,
                    "vacuous: {promise}: there was nothing to judge in {rehearsals} rehearsals: {unanswered}"
                )?,
                (_, "") => {}
                _ => writeln!(f, "note: {promise}: in {rehearsals} rehearsals {unanswered}")?,
            }
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

    #[test]
    fn a_name_that_no_event_knows_is_told_with_its_promise() {
        let mut vacuity = Vacuity::default();
        vacuity.add_all([("the ledger is right", 0), ("orders end", 7)].into_iter());
        let field = |name: &str| Question::Field(name.to_owned());
        vacuity.ask("the ledger is right", &field("ordr"), false);
        vacuity.ask("orders end", &field("order"), false);
        vacuity.ask("orders end", &field("order"), true);
        vacuity.ask("orders end", &Question::Words("setled".to_owned()), false);
        let lines = "note: orders end: in 1 rehearsals no log line says \"setled\"\n\
            vacuous: the ledger is right: there was nothing to judge in 1 rehearsals: \
            no event has a field \"ordr\" of the type asked for\n";
        assert_eq!(vacuity.to_string(), lines);
    }
}
