//! What must hold whatever happens. One type or function for each promise.

use std::time::Duration;

use sim::CallRecord;

/// The right value for the right caller.
pub(crate) fn right_value(call: &CallRecord) -> Result<(), String> {
    let Some(reply) = call.reply.as_ref().filter(|reply| reply.is_ok()) else { return Ok(()) };
    let name = call.request.argument.to_uppercase();
    let expected = if call.request.kind == "name" { name } else { format!("Hello, {name}!") };
    if reply.value == expected {
        return Ok(());
    }
    Err(format!("{} got {:?}, not {expected:?}", call.request_id, reply.value))
}

/// What two hops of a healthy network may take: a caller with less is promised nothing.
pub(crate) const ENOUGH: Duration = Duration::from_millis(250);

/// Without a fault, every call works. One may find all places taken: whether they were is judged with the statuses.
pub(crate) fn works(call: &CallRecord) -> Result<(), String> {
    match &call.reply {
        _ if call.request.deadline < ENOUGH => Ok(()),
        Some(reply) if reply.is_ok() || reply.status == "RESOURCE_EXHAUSTED" => Ok(()),
        other => Err(format!("{} got {other:?}", call.request_id)),
    }
}
