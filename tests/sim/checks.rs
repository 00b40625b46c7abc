//! What must hold of these services' own answers and lines.

use std::collections::BTreeMap;

use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::service2::SayHello;
use rehearse::{CallRecord, Event, Invariant, Wants, answer, request};

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
        Some(reply) => {
            let waited = call.ended.unwrap_or_default().saturating_sub(call.started).as_millis();
            let (id, status, value) = (&call.request_id, &reply.status, &reply.value);
            Err(format!("{id} got {status} ({value:?}) after {waited} ms; expected its answer"))
        }
        None => Err(format!("{} has not ended; expected its answer", call.request_id)),
    }
}

/// Every line that names somebody names the one whom its call is about.
#[derive(Debug, Default)]
pub(crate) struct LinesNameTheirCallers {
    /// The name in each call, in capitals.
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
        self.names.extend(name.map(|name| (call.request.id, name.to_uppercase())));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some((number, name)) = event.request.zip(event.field("name")) else { return Ok(()) };
        self.met += 1;
        if self.names.get(&number).map(String::as_str) == name.as_str() {
            return Ok(());
        }
        Err(format!("{event}, and the call is about {:?}", self.names.get(&number)))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
