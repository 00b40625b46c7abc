//! Where two traces of one plan part.

use std::fmt::Write as _;

use crate::trace::event::Event;

/// Where two traces of the same plan part, with what went before in both; `None` if they are the same.
#[must_use]
pub fn first_difference(one: &[Event], other: &[Event]) -> Option<String> {
    const CONTEXT_EVENTS: usize = 4;
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    if same == one.len() && same == other.len() {
        return None;
    }
    let mut report = format!("the traces part at event {same}\n");
    for event in &one[same.saturating_sub(CONTEXT_EVENTS)..same] {
        line(&mut report, "  both  ", Some(event));
    }
    for (name, events) in [("  first ", one), ("  second", other)] {
        for offset in 0..CONTEXT_EVENTS {
            line(&mut report, name, events.get(same + offset));
        }
    }
    Some(report)
}

fn line(report: &mut String, label: &str, event: Option<&Event>) {
    let written = match event {
        Some(event) => writeln!(report, "{label} {event}"),
        None => writeln!(report, "{label} (end)"),
    };
    written.expect("a String takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trace::event::{Line, What};

    fn event(message: &str) -> Event {
        let (target, level, fields) = ("test", tracing::Level::INFO, Vec::new());
        let line = Line {
            target,
            level,
            message: message.to_owned(),
            fields,
            of_call: None,
            known: None,
            written: None,
        };
        Event { at: Duration::ZERO, host: "a".into(), request_id: None, request: None, what: What::Log(line) }
    }

    #[test]
    fn the_first_event_that_differs_is_named() {
        let one = [event("same"), event("this"), event("after")];
        let other = [event("same"), event("that")];
        let report = first_difference(&one, &other).unwrap();
        assert!(report.contains("event 1"), "{report}");
        assert!(report.contains("this"), "{report}");
        assert!(report.contains("that"), "{report}");
        assert_eq!(first_difference(&one, &one), None);
    }
}
