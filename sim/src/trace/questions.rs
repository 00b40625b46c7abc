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

/// What became of a question. Of two answers to one question the greater counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// There is none: it was only asked of log lines that say the words asked for before, and a line of code that says
    /// them has no such field, whatever happens. Its name or its type is wrong.
    Impossible,
    /// No event had one. It may be rare.
    Missing,
    /// An event had one.
    Given,
}

/// All that one check has asked.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    asked: Vec<(Question, Answer)>,
    /// Whether the event that is looked at has said words that it was asked for.
    is_said: bool,
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
        self.is_said = false;
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

    /// Each question, and what became of it.
    pub fn iter(&self) -> impl Iterator<Item = (&Question, Answer)> {
        self.asked.iter().map(|(question, answer)| (question, *answer))
    }

    fn add(&mut self, is_it: impl Fn(&Question) -> bool, new: impl FnOnce() -> Question, answer: Answer) {
        // Of an event that nobody knows to be the right one, it says nothing that it cannot have a field.
        let answer = if self.is_said { answer } else { answer.max(Answer::Missing) };
        self.is_answered |= answer == Answer::Given;
        let known = self.asked.iter().position(|(known, _)| is_it(known));
        match known {
            Some(known) => self.asked[known].1 = self.asked[known].1.max(answer),
            None if self.asked.len() < MOST => self.asked.push((new(), answer)),
            None => {}
        }
    }
}

/// An event is asked for a field. What becomes of that costs a look at the names that its line of code has.
pub(super) fn field(name: &str, answer: impl FnOnce() -> Answer) {
    let is_it = |known: &Question| matches!(known, Question::Field(known) if known == name);
    ask(is_it, || Question::Field(name.to_owned()), answer);
}

/// An event is asked whether it says `words`.
pub(super) fn words(words: &str, is_answered: bool) {
    let is_it = |known: &Question| matches!(known, Question::Words(known) if known == words);
    ask(is_it, || Question::Words(words.to_owned()), || given(is_answered));
    if is_answered && IS_NOTED.get() {
        ASKING.with_borrow_mut(|asking| asking.iter_mut().for_each(|questions| questions.is_said = true));
    }
}

/// An event is asked for a fact of the type `T`.
pub(super) fn fact<T>(is_answered: bool) {
    let name = std::any::type_name::<T>();
    let is_it = |known: &Question| matches!(known, Question::Fact(known) if *known == name);
    ask(is_it, || Question::Fact(name), || given(is_answered));
}

fn given(is_answered: bool) -> Answer {
    if is_answered { Answer::Given } else { Answer::Missing }
}

fn ask(is_it: impl Fn(&Question) -> bool, new: impl FnOnce() -> Question, answer: impl FnOnce() -> Answer) {
    if !IS_NOTED.get() {
        return;
    }
    ASKING.with_borrow_mut(|asking| {
        if let Some(questions) = asking {
            questions.add(is_it, new, answer());
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

    fn told(questions: &Questions) -> Vec<(String, Answer)> {
        questions.iter().map(|(question, answer)| (question.to_string(), answer)).collect()
    }

    #[test]
    fn a_question_that_any_event_answers_is_answered() {
        let mut questions = Questions::default();
        for is_answered in [false, true, false] {
            questions.note(|| {
                field("total", || given(is_answered));
                field("totl", || Answer::Missing);
            });
        }
        field("elsewhere", || Answer::Given);
        assert_eq!(questions.answered(), 1);
        let totl = "no event has a field \"totl\" of the type asked for".to_owned();
        assert_eq!(told(&questions)[1], (totl, Answer::Missing));
        assert_eq!(told(&questions)[0].1, Answer::Given);
    }

    #[test]
    fn a_field_is_impossible_if_it_is_only_asked_of_lines_of_the_words_asked_for_that_cannot_have_it() {
        let asked = |looks: &[fn()]| {
            let mut questions = Questions::default();
            looks.iter().for_each(|look| questions.note(look));
            let field = questions.iter().find(|(question, _)| matches!(question, Question::Field(_)));
            field.expect("a field is asked for").1
        };
        let says_it: fn() = || {
            words("sold", true);
            field("cent", || Answer::Impossible);
        };
        let asks_anything: fn() = || field("cent", || Answer::Impossible);
        let has_none_this_time: fn() = || {
            words("sold", true);
            field("cent", || Answer::Missing);
        };
        let has_it: fn() = || field("cent", || Answer::Given);
        assert_eq!(asked(&[says_it, says_it]), Answer::Impossible);
        for other in [asks_anything, has_none_this_time] {
            assert_eq!(asked(&[says_it, other, says_it]), Answer::Missing);
        }
        assert_eq!(asked(&[says_it, has_it, says_it]), Answer::Given);
    }

    #[test]
    fn made_up_names_are_not_kept_without_end() {
        let mut questions = Questions::default();
        (0..1000).for_each(|number| questions.note(|| words(&number.to_string(), true)));
        assert_eq!((questions.iter().count(), questions.answered()), (MOST, 1000));
    }
}
