//! The trace of a rehearsal: everything that happened, in order, as one number and, if wanted, as a list.
//!
//! The number is computed as things happen. Two runs of one plan must give the same number; when they do not,
//! both are run again with the list kept, and [`first_difference`] names where they part.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use crate::entropy::mix;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, counted from the start of the simulation.
    pub at: Duration,
    /// On which host; empty for what the harness itself does.
    pub host: Arc<str>,
    /// What sort of thing it is.
    pub kind: EventKind,
    /// What happened, in words.
    pub text: String,
    /// The request it belongs to, from the event's own field or the span it happened in.
    pub request_id: Option<String>,
    /// The number of that request in the plan; none if no request of a plan goes under this id.
    pub request: Option<u32>,
    /// Everything else that was said about it.
    pub fields: Fields,
}

/// What was said about an event: names and values.
pub type Fields = Vec<(&'static str, Cow<'static, str>)>;

/// The sorts of things that happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A line that the program logged.
    Log,
    /// Something that turmoil's network did.
    Net,
    /// Bytes that a host wrote to or read from a connection.
    Bytes,
    /// A client's call began or ended.
    Call,
    /// A fault began or ended.
    Fault,
    /// The harness says how far the rehearsal is.
    Phase,
}

impl EventKind {
    /// Its name, as printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Net => "net",
            Self::Bytes => "bytes",
            Self::Call => "call",
            Self::Fault => "fault",
            Self::Phase => "phase",
        }
    }
}

impl Event {
    /// What was said under `name`, if anything was.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(field, _)| *field == name)?;
        Some(value)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs_f64();
        let (host, kind) = (&self.host, self.kind.name());
        let id = self.request_id.as_deref().unwrap_or("-");
        write!(f, "{seconds:>9.3} {host:<10} {kind:<5} {id:<12} {}", self.text)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// A hash that takes what it is given piece by piece.
///
/// It need not resist anyone; it must be fast, and the same everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn number(&mut self, value: u64) {
        self.pair(value, 0);
    }

    /// Two numbers at the price of one (wyhash, Wang Yi 2019).
    fn pair(&mut self, one: u64, other: u64) {
        let product =
            u128::from(self.0 ^ one ^ 0x9E37_79B9_7F4A_7C15) * u128::from(other ^ 0xA076_1D64_78BD_642F);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((one, after)) = rest.split_first_chunk()
            && let Some((other, after)) = after.split_first_chunk()
        {
            self.pair(u64::from_le_bytes(*one), u64::from_le_bytes(*other));
            rest = after;
        }
        let (one, other) = match rest.split_first_chunk() {
            Some((one, after)) => (u64::from_le_bytes(*one), short_word(after)),
            None => (short_word(rest), 0),
        };
        self.pair(one ^ ((bytes.len() as u64) << 56), other);
    }

    pub(crate) fn value(self) -> u64 {
        mix(self.0)
    }
}

impl fmt::Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Fewer than eight bytes as a number. No copy, which would be a call: most texts end in such a piece.
fn short_word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

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
    use super::*;

    fn event(text: &str) -> Event {
        let (at, host, kind) = (Duration::ZERO, "a".into(), EventKind::Log);
        Event { at, host, kind, text: text.to_owned(), request_id: None, request: None, fields: Vec::new() }
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

    #[test]
    fn every_bit_changes_the_fingerprint() {
        let fingerprint = |bytes: &[u8]| {
            let mut fingerprint = Fingerprint::default();
            fingerprint.bytes(bytes);
            fingerprint.value()
        };
        assert_ne!(fingerprint(b"12345678"), fingerprint(b"12345679"));
        assert_ne!(fingerprint(b""), fingerprint(b"\0"));
    }
}
