//! A line as text for people: time, level, service, message, fields, request id.
//!
//! Nothing that a client sends begins a line, moves the cursor or passes for a field: a value that is more than one
//! plain word is quoted, and what is not printable is escaped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::SystemTime;

use tracing::Event;
use transport::CallContext;

use super::fields::{Fields, Form, Value};
use super::page::Page;

/// Writes the line of `event` to the page.
pub(super) fn write(event: &Event<'_>, now: SystemTime, page: &mut Page) {
    let Page { line, message, fields, head, clock, .. } = page;
    event.record(&mut Fields { form: Text { message, fields }, head });
    clock.write(now, line);
    append(line, format_args!(" {:5} ", event.metadata().level()));
    CallContext::with_current(|context| {
        let service = context.and_then(CallContext::service);
        line.extend_from_slice(service.unwrap_or(event.metadata().target()).as_bytes());
        line.push(b':');
        line.extend_from_slice(message);
        line.extend_from_slice(fields);
        if let Some(context) = context {
            append(line, format_args!(" request_id={}", context.request_id()));
        }
    });
    line.push(b'\n');
}

struct Text<'a> {
    message: &'a mut Vec<u8>,
    fields: &'a mut Vec<u8>,
}

impl Form for Text<'_> {
    fn put(&mut self, _: usize, name: &'static str, value: Value<'_>) {
        let Self { message, fields } = self;
        match (name, value) {
            ("message", Value::Text(text) | Value::Displayed(text)) => {
                append(message, format_args!(" {}", printable(text)));
            }
            (name, Value::Displayed(text)) if is_word(text) => append(fields, format_args!(" {name}={text}")),
            (name, Value::Text(text) | Value::Displayed(text)) => {
                append(fields, format_args!(" {name}={text:?}"));
            }
            (name, Value::Bool(value)) => append(fields, format_args!(" {name}={value}")),
            (name, Value::Unsigned(value)) => append(fields, format_args!(" {name}={value}")),
            (name, Value::Signed(value)) => append(fields, format_args!(" {name}={value}")),
            (name, Value::Float(value)) => append(fields, format_args!(" {name}={value:?}")),
        }
    }
}

fn is_word(text: &str) -> bool {
    let is_plain = |letter: char| letter != ' ' && letter != '=' && is_printable(letter);
    !text.is_empty() && !text.contains('"') && text.chars().all(is_plain)
}

/// The message, which is words.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_printable(letter) {
            printable.push(letter);
        } else {
            write!(printable, "{}", letter.escape_debug()).expect("a string takes all");
        }
    }
    printable
}

/// Whether Rust would show it as it is, in a quoted text.
fn is_printable(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '\\') || letter.escape_debug().len() == 1
}

fn append(to: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    to.write_fmt(text).expect("a vector takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: Value<'_>) -> String {
        let (mut message, mut fields) = (Vec::new(), Vec::new());
        Text { message: &mut message, fields: &mut fields }.put(0, "a", value);
        String::from_utf8(fields).expect("UTF-8")
    }

    #[test]
    fn a_value_is_one_word_or_quoted() {
        for (value, written) in [
            (Value::Displayed("TEST"), " a=TEST"),
            (Value::Displayed("30s"), " a=30s"),
            (Value::Displayed("é/\\'"), " a=é/\\'"),
            (Value::Displayed(""), " a=\"\""),
            (Value::Displayed("x b=1"), " a=\"x b=1\""),
            (Value::Displayed("b=1"), " a=\"b=1\""),
            (Value::Displayed("x\n\u{1b}[2J\u{202e}\u{9b}"), " a=\"x\\n\\u{1b}[2J\\u{202e}\\u{9b}\""),
            (Value::Displayed("\"x\""), " a=\"\\\"x\\\"\""),
            (Value::Text("GET"), " a=\"GET\""),
            (Value::Text("\r"), " a=\"\\r\""),
            (Value::Float(0.25), " a=0.25"),
        ] {
            assert_eq!(field(value), written);
        }
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(printable("it's \"so\"\n\u{1b}[1A\u{7f}"), "it's \"so\"\\n\\u{1b}[1A\\u{7f}");
    }
}
