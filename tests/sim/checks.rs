//! What must hold of these services' own answers and lines.

use std::collections::BTreeMap;

use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::service2::SayHello;
use rehearse::{CallRecord, Event, Invariant, Wants, answer, request};

use crate::ledger;

/// The right value for the right caller.
pub(crate) fn right_value(call: &CallRecord) -> Result<(), String> {
    let (expected, got) = if let Some(request) = request::<SayHello>(call) {
        let expected = format!("Hello, {}!", request.name.to_uppercase());
        (expected, answer::<SayHello>(call).map(|answer| answer.hello))
    } else {
        let request = request::<ProcessName>(call).ok_or("a call of no known rpc")?;
        (request.name.to_uppercase(), answer::<ProcessName>(call).map(|answer| answer.name))
    };
    match got {
        Some(got) if got != expected => Err(format!("{} got {got:?}, not {expected:?}", call.request_id)),
        _ => Ok(()),
    }
}

/// Without a fault, every call works. One may find all permits taken: whether they were is judged with the statuses.
pub(crate) fn works(call: &CallRecord) -> Result<(), String> {
    match &call.reply {
        _ if call.request.deadline < rehearse::promises::ENOUGH => Ok(()),
        Some(reply) if reply.is_ok() || reply.status == "RESOURCE_EXHAUSTED" => Ok(()),
        other => Err(format!("{} got {other:?}", call.request_id)),
    }
}

/// Every line that names somebody, or a key, names the one that its call is about: on the way, nothing has become of its letters.
#[derive(Debug, Default)]
pub(crate) struct LinesNameTheirCallers {
    /// The name in each call, in capitals, or the key in it.
    names: BTreeMap<u32, String>,
    met: u64,
}

impl Invariant for LinesNameTheirCallers {
    fn name(&self) -> &str {
        "every log line is about the call whose id it carries"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let hello = request::<SayHello>(call).map(|request| request.name);
        let name = hello.or_else(|| request::<ProcessName>(call).map(|request| request.name));
        let name = name.map(|name| name.to_uppercase()).or_else(|| ledger::key_of(call));
        self.names.extend(name.map(|name| (call.request.id, name)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let named = event.field("name").or_else(|| event.field("key"));
        let Some((number, named)) = event.request.zip(named) else { return Ok(()) };
        self.met += 1;
        let asked = self.names.get(&number).map(String::as_str);
        if asked == named.as_str().map(|named| named.trim_start_matches(ledger::TALLY)) {
            return Ok(());
        }
        Err(format!("{event}; expected what its caller asked for: {asked:?}"))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
