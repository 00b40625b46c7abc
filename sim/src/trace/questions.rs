//! What a check asks of events by name or by type, and whether it was answered.
//!
//! A check that asks for a misspelt field looks at every event and judges none. It cannot know that itself; so events
//! note what they are asked for while [`Questions::note`] runs, and the suite tells which names no event knew.

use std::cell::{Cell, RefCell};
use std::fmt;

/// How many different questions of one check are known: a check might make up names.
const MOST: usize = 64;

thread_local! {
    /// Whether a check that notes its questions looks at an event on this thread. Most checks do not, and ask much.
    static IS_NOTED: Cell<bool> = const { Cell::new(false) };
    /// The questions of that check.
    static ASKING: RefCell<Option<Questions>> = const { RefCell::new(None) };
}

/// Something that a check asks of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The value of a field.
    Field(String),
    /// Whether these are the words of a log line.
    Words(String),
    /// A fact of this type.
    Fact(&'static str),
}

/// All that one check has asked.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    asked: Vec<(Question, bool)>,
    is_answered: bool,
    answered: u64,
}

impl Questions {
    /// Runs `look`, which looks at one event, and notes what it asks that event for.
    pub fn note<T>(&mut self, look: impl FnOnce() -> T) -> T {
        ASKING.replace(Some(std::mem::take(self)));
        IS_NOTED.set(true);
        let seen = look();
        IS_NOTED.set(false);
        *self = ASKING.take().unwrap_or_default();
        self.answered += u64::from(std::mem::take(&mut self.is_answered));
        seen
    }

    /// How many events had an answer to something.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Whether nothing was ever asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Each question, and whether any event had an answer.
    pub fn iter(&self) -> impl Iterator<Item = (&Question, bool)> {
        self.asked.iter().map(|(question, is_answered)| (question, *is_answered))
    }

    fn add(&mut self, is_it: impl Fn(&Question) -> bool, new: impl FnOnce() -> Question, is_answered: bool) {
        self.is_answered |= is_answered;
        let known = self.asked.iter().position(|(known, _)| is_it(known));
        match known {
            Some(known) => self.asked[known].1 |= is_answered,
            None if self.asked.len() < MOST => self.asked.push((new(), is_answered)),
            None => {}
        }
    }
}

/// An event is asked for a field.
pub(super) fn field(name: &str, is_answered: bool) {
    let is_it = |known: &Question| matches!(known, Question::Field(known) if known == name);
    ask(is_it, || Question::Field(name.to_owned()), is_answered);
}

/// An event is asked whether it says `words`.
pub(super) fn words(words: &str, is_answered: bool) {
    let is_it = |known: &Question| matches!(known, Question::Words(known) if known == words);
    ask(is_it, || Question::Words(words.to_owned()), is_answered);
}

/// An event is asked for a fact of the type `T`.
pub(super) fn fact<T>(is_answered: bool) {
    let name = std::any::type_name::<T>();
    let is_it = |known: &Question| matches!(known, Question::Fact(known) if *known == name);
    ask(is_it, || Question::Fact(name), is_answered);
}

fn ask(is_it: impl Fn(&Question) -> bool, new: impl FnOnce() -> Question, is_answered: bool) {
    if !IS_NOTED.get() {
        return;
    }
    ASKING.with_borrow_mut(|asking| {
        if let Some(questions) = asking {
            questions.add(is_it, new, is_answered);
        }
    });
}

/// What is told of a question that nothing has answered.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "no event has a field {name:?} of the type asked for"),
            Self::Words(words) => write!(f, "no log line says {words:?}"),
            Self::Fact(name) => {
                write!(f, "no fact is a {}", name.rsplit("::").next().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(questions: &Questions) -> Vec<(String, bool)> {
        questions.iter().map(|(question, is_answered)| (question.to_string(), is_answered)).collect()
    }

    #[test]
    fn a_question_that_any_event_answers_is_answered() {
        let mut questions = Questions::default();
        for is_answered in [false, true, false] {
            questions.note(|| {
                field("total", is_answered);
                field("totl", false);
            });
        }
        field("elsewhere", true);
        assert_eq!(questions.answered(), 1);
        let totl = "no event has a field \"totl\" of the type asked for".to_owned();
        assert_eq!(told(&questions)[1], (totl, false));
        assert_eq!(questions.iter().map(|(_, is_answered)| is_answered).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn made_up_names_are_not_kept_without_end() {
        let mut questions = Questions::default();
        (0..1000).for_each(|number| questions.note(|| words(&number.to_string(), true)));
        assert_eq!((questions.iter().count(), questions.answered()), (MOST, 1000));
    }
}
