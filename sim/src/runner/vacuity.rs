//! Promises that met nothing to judge: they would hold whatever the program did. Also names for which a promise asks and
//! that no event knows: what is asked for by a misspelt name is never judged. A field that no line can have of those whose
//! words were asked for is such a name for certain; any other question may be about what is rare, and is told as a note.
//!
//! All scenarios are judged together, by the promise's name. One scenario alone may well give a promise nothing to do:
//! where nothing drains, a promise about drains holds by itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::rehearsal::Rehearsal;
use crate::trace::questions::{Answer, Question};

/// How often each promise had something to judge.
#[derive(Debug, Default)]
pub(super) struct Vacuity {
    promises: BTreeMap<String, Judged>,
    rehearsals: u64,
}

#[derive(Debug, Default)]
struct Judged {
    met: u64,
    /// What it asks events for, and what became of that.
    asked: BTreeMap<Question, Answer>,
}

impl Vacuity {
    /// Adds one rehearsal.
    pub(super) fn add(&mut self, rehearsal: &Rehearsal) {
        self.add_all(rehearsal.met.iter().map(|(promise, met)| (promise.as_str(), *met)));
        for (promise, questions) in &rehearsal.asked {
            questions.iter().for_each(|(question, answer)| self.ask(promise, question, answer));
        }
    }

    fn add_all<'a>(&mut self, met: impl Iterator<Item = (&'a str, u64)>) {
        self.rehearsals += 1;
        for (promise, met) in met {
            self.promises.entry(promise.to_owned()).or_default().met += met;
        }
    }

    fn ask(&mut self, promise: &str, question: &Question, answer: Answer) {
        let asked = &mut self.promises.entry(promise.to_owned()).or_default().asked;
        let known = asked.entry(question.clone()).or_insert(answer);
        *known = answer.max(*known);
    }

    /// What is to be done about it, if the suite fails by it.
    pub(super) fn advice(&self) -> Option<&'static str> {
        let judged = || self.promises.values();
        if judged().any(|judged| judged.met == 0) {
            return Some(
                "A promise that is never tried proves nothing: add a scenario in which it is, or leave it out there.",
            );
        }
        let is_misspelt =
            judged().any(|judged| judged.asked.values().any(|answer| *answer == Answer::Impossible));
        is_misspelt.then_some(
            "What is asked for by a wrong name is never judged: ask for it by the name and the type that the line has.",
        )
    }
}

impl Judged {
    /// The questions of which this became, as they are told.
    fn with(&self, became: Answer) -> Vec<String> {
        let asked = self.asked.iter().filter(|(_, answer)| **answer == became);
        asked.map(|(question, _)| question.to_string()).collect()
    }
}

/// One line for each promise that met nothing, or that asks by a wrong name, and a note for each other one that asks for
/// what is never there. That is no failure: what is asked for may be rare.
impl fmt::Display for Vacuity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rehearsals = self.rehearsals;
        for (promise, judged) in &self.promises {
            let (impossible, missing) = (judged.with(Answer::Impossible), judged.with(Answer::Missing));
            if judged.met == 0 {
                let all = [impossible, missing].concat().join(", ");
                let why = if all.is_empty() { all } else { format!(": {all}") };
                writeln!(
                    f,
                    "vacuous: {promise}: there was nothing to judge in {rehearsals} rehearsals{why}"
                )?;
                continue;
            }
            if !impossible.is_empty() {
                let all = impossible.join(", ");
                writeln!(f, "misspelt: {promise}: of the log lines whose words it asks for, {all}")?;
            }
            if !missing.is_empty() {
                writeln!(f, "note: {promise}: in {rehearsals} rehearsals {}", missing.join(", "))?;
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
        assert!(vacuity.advice().is_some_and(|advice| advice.contains("never tried")));
        vacuity.add_all([("a drain loses nothing", 2)].into_iter());
        assert_eq!(vacuity.to_string(), "vacuous: never: there was nothing to judge in 2 rehearsals\n");
    }

    #[test]
    fn a_name_that_no_event_knows_is_told_with_its_promise() {
        let mut vacuity = Vacuity::default();
        vacuity.add_all([("the ledger is right", 0), ("orders end", 7)].into_iter());
        let field = |name: &str| Question::Field(name.to_owned());
        vacuity.ask("the ledger is right", &field("ordr"), Answer::Missing);
        vacuity.ask("orders end", &field("order"), Answer::Missing);
        vacuity.ask("orders end", &field("order"), Answer::Given);
        vacuity.ask("orders end", &Question::Words("setled".to_owned()), Answer::Missing);
        let lines = "note: orders end: in 1 rehearsals no log line says \"setled\"\n\
            vacuous: the ledger is right: there was nothing to judge in 1 rehearsals: \
            no event has a field \"ordr\" of the type asked for\n";
        assert_eq!(vacuity.to_string(), lines);
    }

    #[test]
    fn a_field_that_no_line_can_have_fails_the_suite_and_one_that_is_rare_does_not() {
        let mut vacuity = Vacuity::default();
        vacuity.add_all([("orders end", 7)].into_iter());
        let field = Question::Field("cent".to_owned());
        vacuity.ask("orders end", &field, Answer::Impossible);
        assert!(vacuity.advice().is_some_and(|advice| advice.contains("by a wrong name")));
        let line = "misspelt: orders end: of the log lines whose words it asks for, \
            no event has a field \"cent\" of the type asked for\n";
        assert_eq!(vacuity.to_string(), line);
        vacuity.ask("orders end", &field, Answer::Missing);
        assert_eq!(vacuity.advice(), None);
    }
}
