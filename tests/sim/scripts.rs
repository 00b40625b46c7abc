//! What must hold of the answers of services that do as their requests say.

use std::time::Duration;

use probe_contract::{Manner, Played, Script, back, front, middle};
use protos::app::grpc::service2::SayHello;
use rehearse::{CallRecord, Code, Reply, answer, request};
use transport::status::{code_name, http_status};

use crate::{checks, terms};

/// The code that a script asks for: its own, or that one of its messages is too large. A node limits what it reads: a
/// request, or the answer of another one.
pub(crate) fn asked(script: &Script, is_at_back: bool, size_max: u32) -> Option<Code> {
    let asks_further = script.hops > 0 && !is_at_back && script.code == 0;
    let further = script.answer_bytes.max(script.swells_to);
    if script.request_bytes > size_max || asks_further && further > size_max {
        return Some(Code::ResourceExhausted);
    }
    (script.code != 0).then(|| Code::from_i32(i32::try_from(script.code).unwrap_or_default()))
}

/// What a script says is what its caller gets.
pub(crate) fn as_the_script_says(call: &CallRecord, size_max: u32) -> Result<(), String> {
    let Some(script) = script(call) else { return right_greeting(call) };
    let Some(reply) = &call.reply else { return Ok(()) };
    let is_at_back = request::<back::Play>(call).or_else(|| request::<back::Glance>(call)).is_some();
    let judged = match asked(&script, is_at_back, size_max).filter(|_| !script.afterwards) {
        // What is shown ends before it fails where a node drains, and then not all of it was shown.
        Some(_) if reply.is_ok() && is_shown(&script, is_at_back) && is_short(call, &script) => Ok(()),
        Some(code) if reply.is_ok() => Err(format!("it worked, and had to fail with {code:?}")),
        Some(code) => as_failed(call, &script, reply, (code, is_at_back)),
        None if reply.is_ok() => as_answered(call, &script, is_at_back),
        None => Ok(()),
    };
    let judged = judged.and_then(|()| as_echoed(call, &script, reply, is_at_back));
    judged.map_err(|wrong| {
        let beginning: String = reply.value.chars().take(60).collect();
        format!("{}: {wrong}; it got {} {beginning:?}", call.request_id, reply.status)
    })
}

/// What is shown ends with a message that says so, and not without it.
pub(crate) fn whole_to_its_end(call: &CallRecord) -> Result<(), String> {
    /// A stream that its deadline ends does so a little before the client's own.
    const MOMENT: Duration = Duration::from_millis(100);
    let (Some(reply), Some(ended)) = (&call.reply, call.ended) else { return Ok(()) };
    let is_shown = call.request.kind.contains("/Show");
    let last = serde_json::from_str::<Played>(&reply.value).unwrap_or_default();
    if !is_shown || !reply.is_ok() || last.is_last || ended + MOMENT >= call.due() {
        return Ok(());
    }
    Err(format!(
        "{} has ended {} ms before its client's deadline, with no error or with that of a deadline, and its last message is {:?}, which \
         does not say that it is the last",
        call.request_id,
        call.due().saturating_sub(ended).as_millis(),
        reply.value
    ))
}

/// A failure comes with the message and the details of who failed. A REST edge keeps to itself what is the fault of a
/// service alone.
fn as_failed(
    call: &CallRecord,
    script: &Script,
    reply: &Reply,
    (code, is_at_back): (Code, bool),
) -> Result<(), String> {
    // Whether another status is right is judged with the statuses.
    if script.code == 0 || Code::from_i32(i32::try_from(script.code).unwrap_or_default()) != code {
        return Ok(());
    }
    let is_hidden = call.request.client == "rest" && http_status(code).as_u16() == 500;
    let message = if is_hidden { "an internal error; see the log" } else { told_of(script) };
    // What is hidden may be of somebody else.
    if reply.status == code_name(code) && reply.message() == Some(message) && !is_hidden {
        as_to_be_repeated(call, script, reply, is_at_back)?;
    }
    if reply.status != code_name(code) || reply.message() == Some(message) {
        let is_whole = told_of(script).len() == script.message.len();
        let is_said = is_whole && !script.panics;
        let has_details = reply.status == code_name(code) && call.request.client == "grpc" && is_said;
        return match reply.details.as_str() {
            terms::DETAILS_ON_THE_WIRE => Ok(()),
            "" if !has_details => Ok(()),
            other => Err(format!("its details are {other:?}")),
        };
    }
    // The same code may come from elsewhere.
    if may_be_of_the_way(code) { Ok(()) } else { Err(format!("it was to fail with {message:.60?}")) }
}

/// What a failure says travels as a header: of what is too long for one the first half goes along, without details.
fn told_of(script: &Script) -> &str {
    const MOST: usize = 4096;
    let message = script.message.as_str();
    let end = if message.len() + terms::DETAILS.len() > MOST { MOST / 2 } else { message.len() };
    &message[..message.floor_char_boundary(end)]
}

/// What is said of calling again comes along, over REST in seconds, from the service that was called. What another one has said
/// to that is its own.
fn as_to_be_repeated(
    call: &CallRecord,
    script: &Script,
    reply: &Reply,
    is_at_back: bool,
) -> Result<(), String> {
    if script.again_ms == 0 {
        return Ok(());
    }
    let is_said = script.hops == 0 || is_at_back;
    let (name, value) = match call.request.client.as_str() {
        "rest" => ("retry-after", script.again_ms.div_ceil(1000)),
        _ => (terms::AGAIN, script.again_ms),
    };
    let said = reply.metadata.iter().find(|(said, _)| said == name).map(|(_, value)| value.as_str());
    let expected = is_said.then(|| value.to_string());
    if said == expected.as_deref() {
        return Ok(());
    }
    Err(format!("it was told {name} {said:?}; expected {expected:?}"))
}

/// Codes that are said not only by handlers.
fn may_be_of_the_way(code: Code) -> bool {
    use Code::{Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    matches!(code, Cancelled | DeadlineExceeded | Internal | ResourceExhausted | Unavailable | Unknown)
}

/// Whether it is shown from further on.
fn is_shown(script: &Script, is_at_back: bool) -> bool {
    script.hops > 0 && !is_at_back && !script.afterwards && script.manner() == Manner::Show
}

/// Whether fewer messages were shown than there are before it fails. Where there are none, it may end in place of the failure,
/// and where a node drains behind the last one, too.
fn is_short(call: &CallRecord, script: &Script) -> bool {
    let drains = u32::from(call.faults.contains(&"drain"));
    script.scenes == 0 || played(call).is_some_and(|played| played.scenes < script.scenes + drains)
}

fn as_answered(call: &CallRecord, script: &Script, is_at_back: bool) -> Result<(), String> {
    let Some(played) = played(call) else { return Err("it has no answer".to_owned()) };
    let asks_further = script.hops > 0 && !is_at_back;
    // What is shown ends early where a node drains, before the first message at the earliest.
    let may_be_nothing = is_shown(script, is_at_back);
    let bytes = if asks_further && script.afterwards { 0 } else { script.answer_bytes as usize };
    let is_whole = played.text == script.text.to_uppercase() && played.padding.len() == bytes;
    let is_nothing = may_be_nothing && played == Played::default();
    if is_whole || is_nothing {
        return Ok(());
    }
    Err(format!("it asked for {:?} and {bytes} bytes", script.text))
}

/// Metadata comes back from the service that a client calls, if that one answers itself, and from no other.
fn as_echoed(call: &CallRecord, script: &Script, reply: &Reply, is_at_back: bool) -> Result<(), String> {
    let is_over_grpc = call.request.client == "grpc";
    let is_echoed = |name: &str| name == "x-trial" || name == "x-trial-bin" && is_over_grpc;
    let answers_itself = script.hops == 0 || is_at_back;
    let mut back: Vec<_> = reply.metadata.iter().filter(|(name, _)| name.starts_with("x-trial")).collect();
    back.sort();
    let mut sent: Vec<_> = call.request.metadata.iter().filter(|(name, _)| is_echoed(name)).collect();
    sent.sort();
    let has_failed = script.code != 0 && !script.panics && reply.message() == Some(told_of(script));
    let has_handled = reply.is_ok() || has_failed;
    let is_other = reply.metadata.iter().any(|(name, _)| name == "x-other");
    match (answers_itself, has_handled) {
        _ if is_other => Err("metadata came back that nobody sends back".to_owned()),
        (true, true) if back != sent => Err(format!("it sent {sent:?}, and got {back:?} back")),
        (false, _) if !back.is_empty() => Err(format!("{back:?} came back from a service further on")),
        _ => Ok(()),
    }
}

/// What a call asks for.
pub(crate) fn script(call: &CallRecord) -> Option<Script> {
    request::<front::Play>(call)
        .or_else(|| request::<middle::Play>(call))
        .or_else(|| request::<back::Play>(call))
        .or_else(|| request::<back::Glance>(call))
}

fn played(call: &CallRecord) -> Option<Played> {
    answer::<front::Play>(call)
        .or_else(|| answer::<middle::Play>(call))
        .or_else(|| answer::<back::Play>(call))
        .or_else(|| answer::<back::Glance>(call))
}

fn right_greeting(call: &CallRecord) -> Result<(), String> {
    if request::<SayHello>(call).is_none() { Ok(()) } else { checks::right_value(call) }
}
