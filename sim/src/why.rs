//! Why a promise was broken: of all that happened, what led there.

use std::collections::BTreeSet;

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

    /// All faults, and all that belongs to the calls that the violation names. If it names none: what the hosts did that it names.
    pub(crate) fn way(&self) -> Vec<String> {
        let of_calls = self.with_faults(|event| self.is_of_named_call(event));
        let (way, others) = of_calls.map_or_else(|| self.way_of_hosts(), |way| (way, 0));
        let too_many = way.len().saturating_sub(EVENTS_MAX);
        let lines = way[too_many..].iter().map(|event| line(event));
        let left_out = others + too_many;
        let earlier = (left_out > 0).then(|| format!("({left_out} earlier)"));
        earlier.into_iter().chain(lines).collect()
    }

    /// All faults, and all events of which `is_it` holds; none where it holds of none.
    fn with_faults(&self, is_it: impl Fn(&Event) -> bool) -> Option<Vec<&'a Event>> {
        let way: Vec<_> =
            self.events.iter().copied().filter(|event| is_fault(event) || is_it(event)).collect();
        way.iter().any(|event| !is_fault(event)).then_some(way)
    }

    /// What a request sends as its id may differ from its name in the plan.
    fn is_of_named_call(&self, event: &Event) -> bool {
        let is_named = |id: &str| !id.is_empty() && self.violation.detail.contains(id);
        let name = event.request.map(Request::name_of);
        name.is_some_and(|name| is_named(&name)) || event.request_id.as_deref().is_some_and(is_named)
    }

    /// What is between the hosts that are named, beside calls. Where nothing is: the last things that they did, or anybody if none is
    /// named, half of them for calls, so that neither hides the other; and how many there were before.
    fn way_of_hosts(&self) -> (Vec<&'a Event>, usize) {
        let mut hosts = words(&self.violation.detail);
        hosts.retain(|word| self.events.iter().any(|event| *event.host == **word));
        let is_theirs = |event: &Event| hosts.is_empty() || hosts.contains(&*event.host);
        let is_between = |event: &Event| {
            event.request_id.is_none()
                && hosts.contains(&*event.host)
                && words(&line(event)).intersection(&hosts).any(|word| **word != *event.host)
        };
        if let Some(way) = self.with_faults(is_between) {
            return (way, 0);
        }
        let (mut left, mut others) = ([EVENTS_MAX / 2; 2], 0);
        let mut way: Vec<_> = self.events.iter().rev().copied().collect();
        way.retain(|event| {
            if is_fault(event) || !is_theirs(event) {
                return is_fault(event);
            }
            let room = &mut left[usize::from(event.request_id.is_some())];
            let is_told = *room > 0;
            *room -= usize::from(is_told);
            others += usize::from(!is_told);
            is_told
        });
        way.reverse();
        (way, others)
    }
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_alphanumeric() && !matches!(letter, '-' | '_'))
        .filter(|word| !word.is_empty())
        .collect()
}

/// What happens to hosts, or to all.
fn is_fault(event: &Event) -> bool {
    matches!(event.what, What::FaultBegins { .. } | What::FaultEnds { .. } | What::Phase(_))
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
    fn where_no_call_is_named_the_hosts_are_that_are() {
        let told = |text| What::Told(Arc::new(Said(text)));
        let elsewhere = Event { host: "b".into(), ..event(3, "", told("elsewhere")) };
        let mut events =
            vec![event(1, "sim-000001", told("a call")), event(2, "", told("beside it")), elsewhere];
        events.extend((0..40).map(|_| event(5, "", told("again"))));
        let rehearsal = rehearsal("a connects to c again", events);
        let way = Why::of(&rehearsal).unwrap().way();
        assert_eq!((way.len(), &*way[0]), (2 + EVENTS_MAX / 2, "(29 earlier)"), "{way:?}");
        assert!(way[1].ends_with("a call") && way[2..].iter().all(|line| line.ends_with("again")), "{way:?}");
    }

    #[test]
    fn where_two_hosts_are_named_what_is_between_them_is_told() {
        let told = |text| What::Told(Arc::new(Said(text)));
        let other = Event { host: "b-2".into(), ..event(4, "", told("is there")) };
        let events = vec![
            event(1, "", told("begins")),
            event(2, "", told("connects to b-2:80")),
            event(3, "", told("connects to b:80")),
            other,
        ];
        let rehearsal = rehearsal("a connects to b-2 again", events);
        let way = Why::of(&rehearsal).unwrap().way();
        assert!(way.len() == 1 && way[0].ends_with("b-2:80"), "{way:?}");
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
