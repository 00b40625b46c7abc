//! Why a promise was broken: of all that happened, what led there.

use crate::plan::Request;
use crate::rehearsal::Rehearsal;
use crate::trace::event::{CallStep, Event, What};
use crate::violation::Violation;

/// How many events are told at most. What comes last counts most, so the first are left out.
const EVENTS_MAX: usize = 24;
/// How many events before the end are told whatever they belong to.
const LAST: usize = 3;
/// The longest line, in characters: a request or an answer may be large.
const LINE_MAX: usize = 200;

/// What led to the end of a rehearsal that kept its trace.
pub(crate) struct Why<'a> {
    events: Vec<&'a Event>,
    violation: &'a Violation,
}

impl<'a> Why<'a> {
    /// Of a rehearsal in which a promise was broken.
    pub(crate) fn of(rehearsal: &'a Rehearsal) -> Option<Self> {
        let violation = rehearsal.violation.as_ref()?;
        let events = rehearsal.events.iter().take(rehearsal.until_broken).filter(|event| is_telling(event));
        Some(Self { events: events.collect(), violation })
    }

    /// What it is about.
    pub(crate) fn violation(&self) -> &'a Violation {
        self.violation
    }

    /// The last events before the promise was broken, whatever they are about.
    pub(crate) fn last(&self) -> Vec<String> {
        let first = self.events.len().saturating_sub(LAST);
        self.events[first..].iter().map(|event| line(event)).collect()
    }

    /// All faults, and all that belongs to the calls that the violation names, or to any call if it names none.
    pub(crate) fn way(&self) -> Vec<String> {
        let is_named = |id: &str| !id.is_empty() && self.violation.detail.contains(id);
        // What a request sends as its id may differ from its name in the plan.
        let belongs_to_named = |event: &Event| {
            let name = event.request.map(Request::name_of);
            name.is_some_and(|name| is_named(&name)) || event.request_id.as_deref().is_some_and(is_named)
        };
        let is_any_named = self.events.iter().any(|event| belongs_to_named(event));
        let belongs = |event: &&&Event| match &event.what {
            What::FaultBegins { .. } | What::FaultEnds { .. } | What::Phase(_) => true,
            _ if is_any_named => belongs_to_named(event),
            _ => event.request_id.is_some(),
        };
        let mut way: Vec<_> = self.events.iter().filter(belongs).map(|event| line(event)).collect();
        let left_out = way.len().saturating_sub(EVENTS_MAX);
        if left_out > 0 {
            way.drain(..left_out);
            way.insert(0, format!("({left_out} earlier)"));
        }
        way
    }
}

/// What people would tell: neither packets nor bytes.
fn is_telling(event: &Event) -> bool {
    !matches!(event.what, What::Net(..) | What::Bytes(_))
}

fn line(event: &Event) -> String {
    let who = if event.host.is_empty() { "-" } else { &event.host };
    let id = event.request_id.as_deref().unwrap_or_default();
    let what = match &event.what {
        What::Call(CallStep::Begins { client, kind, .. }) => format!("calls {kind} over {client}"),
        What::Call(CallStep::Ends { status, .. }) => format!("got {status}"),
        What::Log(line) if line.target == "access" => format!("access line: {}", event.what),
        What::Log(_) => format!("logs: {}", event.what),
        other => other.to_string(),
    };
    let line = format!("{:>7} ms  {who:<9} {id:<11} {what}", event.at.as_millis());
    match line.char_indices().nth(LINE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::plan::Plan;
    use crate::trace::event::{Fact, Phase};
    use crate::violation::ViolationKind;

    #[derive(Debug)]
    struct Said(&'static str);

    impl Fact for Said {}

    impl std::fmt::Display for Said {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    fn event(at: u64, id: &str, what: What) -> Event {
        let id = Some(id.to_owned()).filter(|id| !id.is_empty());
        Event { at: Duration::from_millis(at), host: "a".into(), request_id: id, request: None, what }
    }

    fn rehearsal(detail: &str, events: Vec<Event>) -> Rehearsal {
        let plan =
            "scenario = 's'\nseed = 1\n[network]\nlatency_min = '0s'\nlatency_max = '0s'\nyield_percent = 0";
        let plan = Plan::from_toml(plan).unwrap();
        let violation = Violation {
            promise: "all is well".to_owned(),
            detail: detail.to_owned(),
            at: Duration::from_millis(9),
            kind: ViolationKind::Promise,
        };
        let mut rehearsal = Rehearsal::unplayed(&plan, violation);
        rehearsal.until_broken = events.iter().filter(|event| event.at < Duration::from_millis(10)).count();
        rehearsal.events = events;
        rehearsal
    }

    #[test]
    fn what_led_there_are_the_faults_and_the_calls_that_are_named() {
        let told = |text| What::Told(Arc::new(Said(text)));
        let events = vec![
            event(1, "sim-000001", told("mine")),
            event(2, "sim-000002", told("another's")),
            event(3, "", What::Phase(Phase::Healed)),
            event(4, "", told("nobody's")),
            event(10, "sim-000001", told("too late")),
        ];
        let rehearsal = rehearsal("sim-000001 is lost", events);
        let why = Why::of(&rehearsal).unwrap();
        let way = why.way();
        assert_eq!(way.len(), 2, "{way:?}");
        assert!(way[0].ends_with("mine") && way[1].ends_with("all has healed"), "{way:?}");
        let last = why.last();
        assert!(last.len() == 3 && last[2].ends_with("nobody's"), "{last:?}");
    }

    #[test]
    fn of_too_much_the_last_is_told() {
        let events = (0..9).chain([9; 40]);
        let events = events.map(|at| event(at, "sim-000001", What::Phase(Phase::Healed))).collect();
        let rehearsal = rehearsal("somebody is lost", events);
        let way = Why::of(&rehearsal).unwrap().way();
        assert_eq!((way.len(), way[0].as_str()), (EVENTS_MAX + 1, "(25 earlier)"));
    }
}
