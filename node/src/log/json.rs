//! A line as one JSON object, written by hand: it is on the way of every call.

use std::time::SystemTime;

use serde::Serialize;
use tracing::{Event, Metadata};
use transport::CallContext;

use super::fields::{Fields, Form, Value};
use super::page::{Page, Site};

/// Writes the line of `event` to the page: time, level, target, message, request id and service, and its own fields.
pub(super) fn write(event: &Event<'_>, now: SystemTime, page: &mut Page) {
    let Page { line, message, fields, head, clock, sites } = page;
    let metadata = event.metadata();
    let site = site(sites, metadata);
    event.record(&mut Fields { form: Json { site, message, fields }, head });
    line.extend_from_slice(b"{\"timestamp\":\"");
    clock.write(now, line);
    line.extend_from_slice(&site.head);
    if !message.is_empty() {
        line.extend_from_slice(b",\"message\":");
        line.extend_from_slice(message);
    }
    CallContext::with_current(|context| {
        let Some(context) = context else { return };
        line.extend_from_slice(b",\"request_id\":");
        text(line, context.request_id().as_str());
        if let Some(service) = context.service() {
            line.extend_from_slice(b",\"service\":");
            text(line, service);
        }
    });
    line.extend_from_slice(fields);
    line.extend_from_slice(b"}\n");
}

/// What all lines of one place in the code have in common.
fn site<'a>(sites: &'a mut Vec<Site>, metadata: &Metadata<'_>) -> &'a Site {
    let place = metadata.callsite();
    let index = sites.iter().position(|site| site.place == place).unwrap_or_else(|| {
        let mut head = Vec::new();
        head.extend_from_slice(b"\",\"level\":");
        text(&mut head, metadata.level().as_str());
        head.extend_from_slice(b",\"target\":");
        text(&mut head, metadata.target());
        let keys = metadata.fields().iter().map(|field| key(field.name())).collect();
        sites.push(Site { place, head, keys });
        sites.len() - 1
    });
    &sites[index]
}

/// `,"name":`
fn key(name: &str) -> Vec<u8> {
    let name = match name {
        // An event's own field must not pass for one of the line's.
        "timestamp" | "level" | "target" | "request_id" | "service" => format!("event.{name}"),
        name => name.to_owned(),
    };
    let mut key = vec![b','];
    text(&mut key, &name);
    key.push(b':');
    key
}

struct Json<'a> {
    site: &'a Site,
    /// The message, as JSON.
    message: &'a mut Vec<u8>,
    /// The event's own fields, which come last but are met in the order of the code.
    fields: &'a mut Vec<u8>,
}

impl Form for Json<'_> {
    fn put(&mut self, index: usize, name: &'static str, of: Value<'_>) {
        let Self { site, message, fields } = self;
        if name == "message" {
            return value(message, of);
        }
        fields.extend_from_slice(&site.keys[index]);
        value(fields, of);
    }
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
    let special = |word: [u8; 8]| {
        let word = u64::from_ne_bytes(word);
        let (quote, backslash) = (word ^ bytes(b'"'), word ^ bytes(b'\\'));
        let control = word.wrapping_sub(bytes(b' ')) & !word;
        let quote = quote.wrapping_sub(bytes(1)) & !quote;
        let backslash = backslash.wrapping_sub(bytes(1)) & !backslash;
        (control | quote | backslash) & bytes(0x80)
    };
    match text.last_chunk() {
        // The last eight bytes overlap with those before where these are no multiple of eight.
        Some(last) => {
            text.as_chunks().0.iter().fold(special(*last), |found, word| found | special(*word)) == 0
        }
        None => text.iter().all(|byte| *byte >= b' ' && !matches!(byte, b'"' | b'\\')),
    }
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
