//! What is drawn about a world itself: how many hosts, which configuration, what load.

use std::collections::BTreeMap;
use std::fmt;

use proptest::test_runner::TestRunner;

use crate::load::draw;

/// What a seed, or a plan, picks of the choices that a world offers.
///
/// The first choice is the plain one: plans do not mention it, and shrinking goes back to it.
#[derive(Debug)]
pub struct Picks<'a> {
    picked: BTreeMap<String, String>,
    /// Draws what is asked for; a plan that is played again has drawn already.
    runner: Option<&'a mut TestRunner>,
    wrong: Option<String>,
}

impl<'a> Picks<'a> {
    /// Draws each pick.
    pub(crate) fn drawn(runner: &'a mut TestRunner) -> Self {
        Self { picked: BTreeMap::new(), runner: Some(runner), wrong: None }
    }

    /// Picks what a plan says.
    pub(crate) fn of_plan(options: &BTreeMap<String, String>) -> Self {
        Self { picked: options.clone(), runner: None, wrong: None }
    }

    /// Picks one of `choices`, which are told apart by what they print. Each name is picked once.
    ///
    /// # Panics
    /// When there are no choices.
    #[track_caller]
    pub fn pick<T: fmt::Display + Clone>(&mut self, name: &str, choices: &[T]) -> T {
        let Some(plain) = choices.first() else {
            panic!("there is nothing to pick {name:?} from: expected one choice at least")
        };
        if let Some(runner) = &mut self.runner {
            let number = draw(runner, &(0..choices.len()));
            if number > 0 {
                self.picked.insert(name.to_owned(), choices[number].to_string());
            }
            return choices[number].clone();
        }
        let Some(text) = self.picked.get(name) else { return plain.clone() };
        if let Some(choice) = choices.iter().find(|choice| choice.to_string() == *text) {
            return choice.clone();
        }
        let choices = choices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let wrong = format!("the option {name:?} is {text:?}, and can be {choices}");
        self.wrong.get_or_insert(wrong);
        plain.clone()
    }

    /// What was picked besides what is plain.
    ///
    /// # Errors
    /// When a plan asked for something that there is not; the error names it.
    pub(crate) fn end(self) -> Result<BTreeMap<String, String>, String> {
        self.wrong.map_or(Ok(self.picked), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(picks: &mut Picks<'_>) -> (u8, &'static str) {
        (picks.pick("hosts", &[2, 1, 5]), picks.pick("--deadline", &["500ms", "2s"]))
    }

    #[test]
    fn a_plan_picks_again_what_its_seed_had_drawn() {
        let mut runner = TestRunner::deterministic();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut picks = Picks::drawn(&mut runner);
            let drawn = world(&mut picks);
            let mut again = Picks::of_plan(&picks.end().unwrap());
            assert_eq!(world(&mut again), drawn);
            seen.insert(drawn);
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }

    #[test]
    fn what_a_plan_does_not_mention_is_plain() {
        assert_eq!(world(&mut Picks::of_plan(&BTreeMap::new())), (2, "500ms"));
    }

    #[test]
    fn a_choice_that_is_none_is_named_with_those_there_are() {
        let options = [("hosts".to_owned(), "3".to_owned())].into();
        let mut picks = Picks::of_plan(&options);
        world(&mut picks);
        assert_eq!(picks.end().unwrap_err(), r#"the option "hosts" is "3", and can be 2, 1, 5"#);
    }
}
