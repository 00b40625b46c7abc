//! turmoil's packet events, read at the cost of a few numbers.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use tracing::field::{Field, Visit};

use crate::trace::fingerprint::Fingerprint;
use crate::trace::value::{Fields, Value};

/// A segment goes out.
pub(crate) const SENT: &str = "sent";

/// A segment arrives.
pub(crate) const DELIVERED: &str = "delivered";

/// A packet event of turmoil, hashed without its payload.
///
/// turmoil prints payloads byte by byte, at many times the cost of sending them; the sockets hash the same
/// bytes as they are. So here formatting stops at the bracket where a payload starts.
#[derive(Default)]
pub(crate) struct Packet {
    /// What happened; the first thing that is read.
    text: &'static str,
    source: Short,
    target: Short,
    hash: Fingerprint,
}

impl Packet {
    /// What happened is known without reading it.
    pub(crate) fn is(&mut self, text: &'static str) {
        self.text = text;
    }

    /// All that it says but its payload, as a number.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.value()
    }

    /// What happened.
    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    /// Whether the segment waits for its link.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.text, "held" | "dropped")
    }

    /// Where it comes from and goes to.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.source.as_str().parse().ok()?, self.target.as_str().parse().ok()?))
    }
}

impl Visit for Packet {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut short = Short::default();
        let into = match (self.text, field.name()) {
            (_, "message") => {
                short.print(value);
                self.text = in_our_words(short.as_str());
                self.hash.bytes(short.as_bytes());
                return;
            }
            (_, "src") => &mut self.source,
            (_, "dst") => &mut self.target,
            _ => &mut short,
        };
        into.print(value);
        self.hash.bytes(into.as_bytes());
    }
}

fn in_our_words(message: &str) -> &'static str {
    match message {
        "Send" => SENT,
        "Delivered" => DELIVERED,
        "Hold" => "held",
        "Drop" => "dropped",
        "Crash" => "crashed",
        "Bounce" => "started again",
        "Bind" => "listens",
        "Unbind" => "listens no more",
        _ => "network",
    }
}

/// The fields of a packet event as text, again without the payload.
#[derive(Default)]
pub(crate) struct Details(Fields);

impl Details {
    pub(crate) fn into_fields(self) -> Fields {
        self.0
    }
}

impl Visit for Details {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut short = Short::default();
        short.print(value);
        if field.name() != "message" {
            let text = short.as_str().trim_end_matches(" [").to_owned();
            self.0.push((field.name(), Value::Text(text)));
        }
    }
}

/// The start of a printed value, on the stack.
struct Short {
    bytes: [u8; 48],
    length: usize,
}

impl Default for Short {
    fn default() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }
}

impl Short {
    fn print(&mut self, value: &dyn fmt::Debug) {
        // An error here is our own: it ends the formatting of a payload.
        write!(self, "{value:?}").unwrap_or_default();
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        if text == " [" { Err(fmt::Error) } else { Ok(()) }
    }
}
