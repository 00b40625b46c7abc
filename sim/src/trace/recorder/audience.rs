//! Which checks are told of what: most events concern few of them.

use std::any::{Any, TypeId};

use crate::invariant::Wants;
use crate::trace::event::{Event, What};

/// Who wants what of a list of checks, each known by its index there. Each is told in the order of that list.
#[derive(Debug)]
pub(super) struct Audience {
    wants: Vec<Wants>,
    all: Vec<usize>,
    of_lines: Vec<usize>,
    of_waiting: Vec<usize>,
    /// For each type of fact, as far as there were any.
    of_facts: Vec<(TypeId, Vec<usize>)>,
}

impl Audience {
    pub(super) fn new(wants: impl Iterator<Item = Wants>) -> Self {
        let wants: Vec<_> = wants.collect();
        let those = |want: fn(&Wants) -> bool| {
            let numbered = wants.iter().enumerate().filter(move |(_, wants)| want(wants));
            numbered.map(|(number, _)| number).collect()
        };
        let (all, of_lines, of_waiting) =
            (those(|_| true), those(|wants| wants.lines), those(|wants| wants.waiting));
        Self { all, of_lines, of_waiting, wants, of_facts: Vec::new() }
    }

    /// Those that are told of `event`.
    pub(super) fn of(&mut self, event: &Event) -> &[usize] {
        match &event.what {
            What::Log(_) => &self.of_lines,
            What::Told(fact) => self.of_fact((&**fact as &dyn Any).type_id()),
            _ => &self.all,
        }
    }

    /// Those that are told which calls wait.
    pub(super) fn of_waiting(&self) -> &[usize] {
        &self.of_waiting
    }

    fn of_fact(&mut self, fact: TypeId) -> &[usize] {
        let known = self.of_facts.iter().position(|(known, _)| *known == fact);
        let index = known.unwrap_or_else(|| {
            let want = |wants: &Wants| wants.facts.as_ref().is_none_or(|facts| facts.contains(&fact));
            let those = self.all.iter().copied().filter(|number| want(&self.wants[*number])).collect();
            self.of_facts.push((fact, those));
            self.of_facts.len() - 1
        });
        &self.of_facts[index].1
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::trace::event::{Fact, Phase};

    #[derive(Debug)]
    struct Wanted;
    impl Fact for Wanted {}
    impl fmt::Display for Wanted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wanted")
        }
    }

    #[derive(Debug)]
    struct Other;
    impl Fact for Other {}
    impl fmt::Display for Other {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("other")
        }
    }

    fn event(what: What) -> Event {
        Event { at: Duration::ZERO, host: "".into(), request_id: None, request: None, what }
    }

    #[test]
    fn a_check_is_told_what_it_wants_and_all_are_told_of_phases() {
        let wants = [Wants::everything(), Wants::nothing().fact::<Wanted>(), Wants::nothing().waiting()];
        let mut audience = Audience::new(wants.into_iter());
        assert_eq!(audience.of(&event(What::Told(Arc::new(Wanted)))), [0, 1]);
        assert_eq!(audience.of(&event(What::Told(Arc::new(Other)))), [0]);
        assert_eq!(audience.of(&event(What::Phase(Phase::Healed))), [0, 1, 2]);
        assert_eq!(audience.of_waiting(), [0, 2]);
    }
}
