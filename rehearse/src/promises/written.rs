//! What nodes write to their logs is what their parts have said, where it is to be logged.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sim::{Event, Invariant, Line, Value, Wants};
use transport::cut::told;

use super::names::LOGS_ARE_AS_TOLD;
use crate::setting::Setting;

/// The keys that every line has, or that each has in a call.
const OF_EVERY_LINE: [&str; 6] = ["timestamp", "level", "target", "message", "request_id", "service"];

/// A log has the lines that its filter lets through, each on one line, whole: as one JSON object in which everything is that
/// was said, with its type, or as text in which all of it can be found.
#[derive(Debug)]
pub(super) struct LogsAreAsTold {
    setting: Arc<Setting>,
    met: u64,
}

impl LogsAreAsTold {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), met: 0 }
    }

    fn judge(&self, line: &Line, request_id: Option<&str>) -> Result<(), String> {
        let Some(log) = &self.setting.log else { return Ok(()) };
        match (&line.written, log.has(line.target, line.level)) {
            (None, false) => Ok(()),
            (None, true) => Err("it is to be logged, and is not".to_owned()),
            (Some(written), false) => Err(format!("it is not to be logged, and is: {written}")),
            (Some(written), true) => {
                let whole = written.strip_suffix('\n').filter(|written| !written.contains('\n'));
                let judged = match whole {
                    None => Err("expected one line, with its end".to_owned()),
                    Some(written) if log.is_text => in_text(written, line),
                    Some(written) => in_json(written, line, request_id),
                };
                judged.map_err(|wrong| format!("{wrong}: {written:?}"))
            }
        }
    }
}

/// Whether a line of JSON has all that was said.
fn in_json(written: &str, line: &Line, request_id: Option<&str>) -> Result<(), String> {
    let read: Map<String, Json> =
        serde_json::from_str(written).map_err(|error| format!("expected one JSON object, and {error}"))?;
    let text = |name: &str, said: Option<&str>| match read.get(name).and_then(Json::as_str) == said {
        true => Ok(()),
        false => Err(format!("expected {name} to be {said:?}")),
    };
    text("level", Some(line.level.as_str()))?;
    text("target", Some(line.target))?;
    text("message", Some(&*told(&line.message)).filter(|message| !message.is_empty()))?;
    text("request_id", line.of_call.as_deref())?;
    if let Some(own) = request_id.filter(|_| line.of_call.is_none()) {
        text("event.request_id", Some(own))?;
    }
    for (name, said) in &line.fields {
        let found = ["event.", ""].iter().find_map(|before| read.get(&format!("{before}{name}")));
        if !found.is_some_and(|found| is_same(found, said)) {
            return Err(format!("expected {name} to be {said:?}"));
        }
    }
    let said = line.fields.len() + usize::from(line.of_call.is_none() && request_id.is_some());
    match read.keys().filter(|name| !OF_EVERY_LINE.contains(&name.as_str())).count() {
        own if own == said => Ok(()),
        own => Err(format!("expected {said} fields of its own, not {own}")),
    }
}

fn is_same(found: &Json, said: &Value) -> bool {
    match said {
        Value::U64(number) => found.as_u64() == Some(*number),
        Value::I64(number) => found.as_i64() == Some(*number),
        // The reader is not exact in the last place.
        Value::F64(number) => {
            found.as_f64().is_some_and(|found| (found - number).abs() <= number.abs() * f64::EPSILON)
        }
        Value::Bool(value) => found.as_bool() == Some(*value),
        // A log cuts what is longer than it tells.
        Value::Text(text) => found.as_str() == Some(&*told(text)),
    }
}

/// Whether a line of text has all that was said, as far as that is plain words, and nothing in it moves the cursor.
fn in_text(written: &str, line: &Line) -> Result<(), String> {
    if let Some(letter) = written.chars().find(|letter| letter.is_control()) {
        return Err(format!("expected no {letter:?} in a line for people"));
    }
    let fields = line.fields.iter().map(|(name, said)| match said {
        Value::Text(text) if is_plain(text) => format!(" {name}={text} "),
        Value::Text(_) => format!(" {name}="),
        Value::F64(number) => format!(" {name}={number:?} "),
        said => format!(" {name}={said} "),
    });
    let id = line.of_call.as_ref().map(|id| format!(" request_id={id} "));
    let message = Some(format!(": {} ", line.message)).filter(|_| is_plain(&line.message.replace(' ', "")));
    let expected = [format!(" {:5} ", line.level)].into_iter().chain(message).chain(fields).chain(id);
    // What may be in quotation marks is looked for without them; a value ends at a space or with the line.
    let written = format!("{} ", written.replace('"', ""));
    match expected.map(|part| part.replace('"', "")).find(|part| !written.contains(part)) {
        Some(part) => Err(format!("expected {part:?} in it")),
        None => Ok(()),
    }
}

/// Whether a text is written as it is.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

impl Invariant for LogsAreAsTold {
    fn name(&self) -> &str {
        LOGS_ARE_AS_TOLD
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let is_of_node = self.setting.graph.nodes().any(|host| host == &*event.host);
        let Some(line) = event.line().filter(|_| is_of_node) else { return Ok(()) };
        self.met += 1;
        let judged = self.judge(line, event.request_id.as_deref());
        judged.map_err(|wrong| format!("{}: {} {:?}: {wrong}", event.host, line.target, line.message))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
