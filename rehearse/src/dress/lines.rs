//! Lines of a node's log, as JSON, read into what a simulated node tells.

use std::net::SocketAddr;
use std::sync::Arc;

use node::run::{DRAINING, STARTED, STOPPED};
use serde_json::{Map, Value as Json};
use sim::{Fact, Line, Said, Value};

use super::gauges;
use super::words::kept;
use crate::clients::{GRPC_PORT, HTTP_PORT};
use crate::facts::{NodeStarted, NodeStopped};

/// The keys that every line has, or that each has in a call: what else there is are its own fields.
const OF_EVERY_LINE: [&str; 6] = ["timestamp", "level", "target", "message", "request_id", "service"];

/// Ports that others know, and where they are.
type Listens = Vec<(u16, SocketAddr)>;

/// The target of what a node says of its own life.
const OF_NODE: &str = "node";

/// The target of the lines of what the player asks.
const OF_OURS: &str = "dress";

/// Reads a line; `None` if it is none that a node writes.
pub(super) fn read(line: &str) -> Option<Said> {
    let line: Map<String, Json> = serde_json::from_str(line).ok()?;
    let text = |key: &str| line.get(key).and_then(Json::as_str);
    let at = humantime::parse_rfc3339(text("timestamp")?).ok()?;
    let (target, message) = (text("target")?, text("message").unwrap_or_default());
    let (fact, listens) = if target == OF_NODE { of_life(&line) } else { (None, None) };
    // We asked ourselves what the node holds: that is no call.
    let is_ours = text("path") == Some(gauges::PATH);
    let target = if is_ours { OF_OURS } else { target };
    let request_id = text("request_id").filter(|_| !is_ours).map(str::to_owned);
    let own = line.iter().filter(|(name, _)| !OF_EVERY_LINE.contains(&name.as_str()));
    let read = Line {
        target: kept(target),
        level: text("level")?.parse().ok()?,
        message: message.to_owned(),
        fields: own.map(|(name, value)| (kept(name), in_its_type(value))).collect(),
        of_call: request_id.clone(),
        known: None,
        written: None,
    };
    Some(Said { at, request_id, line: read, fact, listens })
}

/// What a node says of its own life: the fact, and where it listens, by the ports that others know.
fn of_life(line: &Map<String, Json>) -> (Option<Arc<dyn Fact>>, Option<Listens>) {
    let text = |key: &str| line.get(key).and_then(Json::as_str).unwrap_or_default();
    match text("state") {
        STARTED => {
            let services = text("services").split(',').map(kept).collect();
            let ports = [(HTTP_PORT, "http"), (GRPC_PORT, "grpc")];
            let listens = ports.into_iter().filter_map(|(port, key)| Some((port, text(key).parse().ok()?)));
            (Some(Arc::new(NodeStarted { services })), Some(listens.collect()))
        }
        // A node that drains closes its listeners: it listens nowhere from now on.
        DRAINING => (None, Some(Vec::new())),
        STOPPED => (Some(Arc::new(NodeStopped)), None),
        _ => (None, None),
    }
}

fn in_its_type(value: &Json) -> Value {
    match value {
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => {
            let whole = number.as_u64().map(Value::U64).or_else(|| number.as_i64().map(Value::I64));
            whole.unwrap_or_else(|| Value::F64(number.as_f64().unwrap_or(f64::NAN)))
        }
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Text(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_values_in_their_types() {
        let line = r#"{"timestamp":"2026-11-28T13:00:00.250000Z","level":"INFO","target":"access","message":"call","request_id":"a","service":"one","path":"/p","duration_ms":1.5,"bytes":7}"#;
        let said = read(line).unwrap();
        assert_eq!((said.request_id.as_deref(), said.line.of_call.as_deref()), (Some("a"), Some("a")));
        assert_eq!(said.line.field("bytes"), Some(&Value::U64(7)));
        assert_eq!(said.line.field("duration_ms"), Some(&Value::F64(1.5)));
        assert!(said.line.field("service").is_none() && said.listens.is_none());
        assert!(read("thread 'main' panicked").is_none());
    }

    #[test]
    fn the_first_line_of_a_node_says_where_it_listens_in_whatever_words() {
        let line = r#"{"timestamp":"2026-11-28T13:00:00.250000Z","level":"INFO","target":"node","message":"here I am","state":"started","http":"127.0.0.1:81","grpc":"none","services":"one,two","workers":1}"#;
        let said = read(line).unwrap();
        assert_eq!(said.listens, Some(vec![(HTTP_PORT, "127.0.0.1:81".parse().unwrap())]));
        assert_eq!(said.fact.unwrap().to_string(), "node started one two");
        assert!(read(&line.replace(r#""state":"started","#, "")).unwrap().fact.is_none());
    }
}
