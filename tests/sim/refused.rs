//! Calls to a server that is no node: it refuses streams unread for a while, takes few calls at a time, sends GOAWAY, and
//! says what a node must pass on as it is.

use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service1::Service1;
use protos::app::grpc::service2::SayHello;
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{
    CallRecord, Code, Expect, Failed, Family, Foreign, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn,
    matching, promises, request,
};

use crate::{checks, foreign, scenarios};

/// Details that nobody can read: what they belong to is passed on without them.
const BROKEN_DETAILS: &str = "%%%";

/// `google.rpc.Status` with the code of `NOT_FOUND` and the message "gone".
const DETAILS: &str = "CAUSBGdvbmU";

/// The scenario of a callee that is no node.
pub(crate) fn refused() -> sim::Scenario {
    drawn("refused", "service1 is no node, and refuses streams for a while", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let server = foreign::service1_that_fails(failure_for);
    let are_few = picks.pick("calls at a time", &["any", "eight"]) == "eight";
    let server = if are_few { server.streams_max(8) } else { server };
    let takes_few = picks.pick("calls of a connection", &["any", "four"]) == "four";
    let (server, promises) = match takes_few {
        // Its callers connect anew beside the connection that carries its last calls.
        true => (server.calls_max(4), promises::of_calls().except(promises::ONE_CONNECTION)),
        false => (server, promises::of_calls()),
    };
    let faults = Swarm::new(1..=2, 250.ms(), 50.ms()..=500.ms()).host("service1");
    Scenario::new("refused", "", load(), faults.only(&[Family::RefusedStreams]))
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", server)
        .workers(1)
        .promises(promises)
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("a node passes on what its callee said", is_passed_on)
}

/// The scenario of a replica that accepts connections and serves none.
pub(crate) fn rude() -> sim::Scenario {
    drawn(
        "rude",
        "one of two hosts of service1 accepts connections and serves none: no call is lost",
        rude_world,
    )
}

/// Over seconds, since its callers try again later and later.
fn rude_world(picks: &mut Picks<'_>) -> Scenario {
    let rude = Foreign::of::<Service1>();
    let rude = match picks.pick("it", &["hangs up", "says nothing", "speaks HTTP/1.1"]) {
        "says nothing" => rude.says_nothing(),
        "speaks HTTP/1.1" => rude.speaks_http1(),
        _ => rude.hangs_up(),
    };
    let requests = || matching("[e-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let load = Load::new(24, 4000.ms(), 400.ms()..=800.ms())
        .bursts(picks.pick("bursts", &[1, 4]))
        .rpc::<SayHello>(Via::Rest, requests(), Expect::ok())
        .rpc::<SayHello>(Via::Grpc, requests(), Expect::ok());
    Scenario::new("rude", "", load, Swarm::calm())
        .nodes(&["service1", "service2"], scenarios::app)
        .foreign("rude", rude)
        .workers(1)
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("with another host there, no call is lost", checks::works)
}

fn load() -> Load {
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let right = || {
        Expect::ok()
            .or_as_asked::<SayHelloRequest>(|asked| failure_for(&asked.name).map(|failed| failed.code()))
    };
    Load::new(30, 400.ms(), 300.ms()..=800.ms())
        .any_ids()
        .rpc::<SayHello>(Via::Rest, requests(), right())
        .rpc::<SayHello>(Via::Grpc, requests(), right())
}

/// Error codes of HTTP/2 (RFC 9113, section 7).
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What the server says of some names in place of an answer.
fn failure_for(name: &str) -> Option<Failed> {
    let failed = match name.chars().next()? {
        'a' => Failed::new(Code::NotFound, "no name in 100 % of all \u{fc}berlong lists").details(DETAILS),
        'b' => Failed::new(Code::FailedPrecondition, "long ".repeat(100)),
        'c' => Failed::new(Code::Aborted, ""),
        'd' => Failed::new(Code::OutOfRange, "a \"quoted\"\ttab, and a\nline"),
        'e' => Failed::new(Code::NotFound, "gone, with details that are no base64").details(BROKEN_DETAILS),
        'f' => Failed::new(Code::FailedPrecondition, "an answer, and yet none").after_answer(),
        'g' => Failed::by_reset(Code::Cancelled, CANCEL),
        'h' => Failed::by_reset(Code::ResourceExhausted, ENHANCE_YOUR_CALM),
        _ => return None,
    };
    Some(failed)
}

/// What the server says reaches the client with its message, and over gRPC with its details.
fn is_passed_on(call: &CallRecord) -> Result<(), String> {
    let Some((reply, asked)) = call.reply.as_ref().zip(request::<SayHello>(call)) else { return Ok(()) };
    let Some(failed) = failure_for(&asked.name) else { return Ok(()) };
    let is_with_details = call.request.client == "grpc" && asked.name.starts_with('a');
    let details = if is_with_details { DETAILS } else { "" };
    // By a reset nothing is said.
    let is_said = !asked.name.starts_with(['g', 'h']);
    match reply.message() {
        None => Err(format!("{} worked, and service1 said {:?}", call.request_id, failed.code())),
        // Whether another status is right is judged with the statuses.
        Some(_) if reply.status != name_of(failed.code()) || !is_said => Ok(()),
        Some(message) if message == failed.message() && reply.details == details => Ok(()),
        Some(message) => Err(format!(
            "{} got the message {message:?} and the details {:?}, and service1 said {:?} and {details:?}",
            call.request_id,
            reply.details,
            failed.message()
        )),
    }
}

fn name_of(code: Code) -> &'static str {
    match code {
        Code::NotFound => "NOT_FOUND",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::Cancelled => "CANCELLED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        _ => "OUT_OF_RANGE",
    }
}
