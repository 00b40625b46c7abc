//! Rehearsals of messages that are as large as they may be, and of others that are a byte larger.

use probe_contract::front::{self, Play};
use probe_contract::{Manner, Played, Script};
use prost::Message as _;
use rehearse::proptest::prelude::*;
use rehearse::{CallRecord, Code, Expect, Load, Ms as _, Scenario, Swarm, Via, matching, promises, request};

use crate::{terms, worlds};

/// The largest message that nodes read.
const SIZE_MAX: usize = 20_000;

/// The scenario of messages at the limit: requests to the edge, over REST and gRPC, and requests and answers between services.
pub(crate) fn exact() -> Scenario {
    let load = Load::new(40, 400.ms(), 800.ms()..=1500.ms());
    let load = load
        .rpc_with_id::<Play>(Via::Rest, scripts(Via::Rest), right(Via::Rest), |script, _| {
            terms::padded(script)
        })
        .rpc_with_id::<Play>(Via::Grpc, scripts(Via::Grpc), right(Via::Grpc), |script, _| {
            terms::padded(script)
        });
    let nodes: [(&str, &[&str]); 2] = [("edge", &["front"]), ("inner", &["middle", "back"])];
    let about = "messages are as large as they may be, or a byte larger";
    worlds::hosted(Scenario::new("exact", about, load, Swarm::calm()), &nodes)
        .workers(1)
        .flags(&["--max-message-size", &SIZE_MAX.to_string()])
        .promises(promises::of_calls())
        .every_call(
            "a message passes up to the limit, and none that is a byte larger",
            passes_up_to_the_limit,
        )
}

/// Scripts whose request or answer is of the limit, a byte more or a byte less: on the way to the edge, which is as long on the
/// way between services, over gRPC; or on the way back from the other service.
fn scripts(via: Via) -> impl Strategy<Value = Script> + Clone {
    let size = prop::sample::select(vec![SIZE_MAX - 1, SIZE_MAX, SIZE_MAX + 1]);
    let manner = prop::sample::select(vec![Manner::Ask, Manner::Show, Manner::Gather]);
    let script = (matching("[a-z]{4,8}"), manner, size, any::<bool>());
    script.prop_map(move |(text, manner, size, is_request)| {
        let script = Script { text, manner: manner.into(), hops: 1, scenes: 1, ..Script::default() };
        let with = |bytes| match is_request {
            true => Script { request_bytes: bytes, ..script.clone() },
            false => Script { answer_bytes: bytes, ..script.clone() },
        };
        let length =
            |script: &Script| if is_request { asked_bytes(script, via) } else { answered_bytes(script) };
        // How long the rest is depends on the length of what is said of the padding, and that on no more than its digits.
        let rest = length(&with(SIZE_MAX as u32)) - SIZE_MAX;
        let nearly = (size - rest) as u32;
        with((nearly + size as u32) - length(&with(nearly)) as u32)
    })
}

/// How long the request of a script is on its way to the edge.
fn asked_bytes(script: &Script, via: Via) -> usize {
    let mut script = script.clone();
    terms::padded(&mut script);
    match via {
        Via::Rest => serde_json::to_string(&script).expect("a script is JSON").len(),
        _ => script.encoded_len(),
    }
}

/// How long the answer of the other service is, or its largest message.
fn answered_bytes(script: &Script) -> usize {
    let padding = "y".repeat(script.answer_bytes as usize);
    let scenes = u32::from(script.manner() != Manner::Ask);
    Played { text: script.text.to_uppercase(), padding, scenes, is_last: false }.encoded_len()
}

fn right(via: Via) -> Expect {
    Expect::ok()
        .or_as_asked::<Script>(move |script| is_too_large(script, via).then_some(Code::ResourceExhausted))
}

fn is_too_large(script: &Script, via: Via) -> bool {
    asked_bytes(script, via).max(answered_bytes(script)) > SIZE_MAX
}

fn passes_up_to_the_limit(call: &CallRecord) -> Result<(), String> {
    let Some((script, reply)) = request::<front::Play>(call).zip(call.reply.as_ref()) else { return Ok(()) };
    let via = if call.request.client == "rest" { Via::Rest } else { Via::Grpc };
    let expected = if is_too_large(&script, via) { "RESOURCE_EXHAUSTED" } else { "OK" };
    if reply.status == expected {
        return Ok(());
    }
    Err(format!(
        "{}: over {via:?} a request of {} bytes was asked and {} bytes were to be answered between services, where {SIZE_MAX} \
         may be: it got {}; expected {expected}",
        call.request_id,
        asked_bytes(&script, via),
        answered_bytes(&script),
        reply.status
    ))
}
