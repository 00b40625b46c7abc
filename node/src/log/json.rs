//! A line as one JSON object, written by hand: it is on the way of every call.

use serde::Serialize;
use tracing::Event;
use transport::CallContext;

use super::fields::{Fields, Form, Value};
use super::page::Page;

/// Writes the line of `event` to the page: time, level, target, message, request id and service, and its own fields.
pub(super) fn write(event: &Event<'_>, page: &mut Page) {
    let Page { line, message, fields, head, clock } = page;
    event.record(&mut Fields { form: Json { message, fields }, head });
    line.extend_from_slice(b"{\"timestamp\":\"");
    clock.write_now(line);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(event.metadata().level().as_str().as_bytes());
    line.push(b'"');
    text_pair(line, "target", event.metadata().target());
    if !message.is_empty() {
        line.extend_from_slice(b",\"message\":");
        line.extend_from_slice(message);
    }
    CallContext::with_current(|context| {
        let Some(context) = context else { return };
        text_pair(line, "request_id", context.request_id().as_str());
        if let Some(service) = context.service() {
            text_pair(line, "service", service);
        }
    });
    line.extend_from_slice(fields);
    line.extend_from_slice(b"}\n");
}

struct Json<'a> {
    /// The message, as JSON.
    message: &'a mut Vec<u8>,
    /// The event's own fields, which come last but are met in the order of the code.
    fields: &'a mut Vec<u8>,
}

impl Form for Json<'_> {
    fn put(&mut self, name: &'static str, of: Value<'_>) {
        let Self { message, fields } = self;
        match name {
            "message" => return value(message, of),
            // An event's own field must not pass for one of the line's.
            "timestamp" | "level" | "target" | "request_id" | "service" => {
                key(fields, &format!("event.{name}"))
            }
            name => key(fields, name),
        }
        value(fields, of);
    }
}

/// Writes `,"name":"value"`.
fn text_pair(to: &mut Vec<u8>, name: &str, value: &str) {
    key(to, name);
    text(to, value);
}

fn key(to: &mut Vec<u8>, name: &str) {
    to.push(b',');
    text(to, name);
    to.push(b':');
}

fn value(to: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(value) | Value::Displayed(value) => text(to, value),
        Value::Bool(value) => json(to, &value),
        Value::Unsigned(value) => json(to, &value),
        Value::Signed(value) => json(to, &value),
        Value::Float(value) => json(to, &value),
    }
}

fn text(to: &mut Vec<u8>, text: &str) {
    // Nearly all texts are as they are; looking for the others costs less than going letter by letter.
    if is_plain(text.as_bytes()) {
        to.reserve(text.len() + 2);
        to.push(b'"');
        to.extend_from_slice(text.as_bytes());
        to.push(b'"');
    } else {
        json(to, &text);
    }
}

/// Whether nothing is to be escaped: neither a quotation mark, nor a backslash, nor a control character. Looks at eight
/// bytes at once: where a byte of `word` is less than that of `bytes(n)`, subtracting sets its highest bit.
fn is_plain(text: &[u8]) -> bool {
    const fn bytes(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let (words, rest) = text.as_chunks();
    let special = words.iter().fold(0, |special, word| {
        let word = u64::from_ne_bytes(*word);
        let (quote, backslash) = (word ^ bytes(b'"'), word ^ bytes(b'\\'));
        let control = word.wrapping_sub(bytes(b' ')) & !word;
        let quote = quote.wrapping_sub(bytes(1)) & !quote;
        let backslash = backslash.wrapping_sub(bytes(1)) & !backslash;
        special | (control | quote | backslash)
    });
    special & bytes(0x80) == 0 && rest.iter().all(|byte| *byte >= b' ' && !matches!(byte, b'"' | b'\\'))
}

fn json(to: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(to, value).expect("strings and numbers have a JSON form");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_writes_it(any in "[ a~é🦀]{0,12}[\"\\\\\n\u{1f}!#\u{7f}]?[ a\u{80}]{0,9}") {
            let mut written = Vec::new();
            text(&mut written, &any);
            prop_assert_eq!(String::from_utf8(written).expect("UTF-8"), serde_json::to_string(&any).expect("JSON"));
        }
    }
}
