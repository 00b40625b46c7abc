//! What strangers say where a node serves gRPC.

use std::time::Duration;

use probe_contract::Script;
use prost::Message as _;
use rehearse::strangers::http2::{
    self, ACK, CANCEL, END_HEADERS, END_STREAM, GOAWAY, HEADERS, HELLO, PING, RST_STREAM, frame,
};
use rehearse::strangers::{Answer, Call, Stranger};
use rehearse::{Code, Ms as _};

use super::{CALLS_MAX, DEADLINE, DRAIN_MAX, PATIENCE, TAKEN_BACK};

/// How long after its deadline an answer may wait for its client to read it.
const OVERTIME: Duration = Duration::from_secs(1);

/// How long a client may say nothing over HTTP/2: a PING after `--keepalive`, and half of that for its answer.
const SILENCE: Duration = Duration::from_millis(300);

/// So many calls of one connection, with messages of so many bytes, would fill all that a worker may hold, were they let. What
/// they leave, and give back where they are refused, is filled by small ones.
const LARGE: [(u32, u32); 3] = [(60, 20_000), (12, 2000), (12, 200)];
const SMALL: [(u32, u32); 1] = [(80, 0)];

/// Metadata that services look at and do not send back.
const OTHER: &str = "x-other";

/// The largest metadata, and what a field of them counts besides its value: its name, and 32.
const METADATA_MAX: usize = 8 * 1024;
const METADATA_FIELD: usize = OTHER.len() + 32;

const GREET: &str = "/app.grpc.Service2/SayHello";
const PLAY: &str = "/rehearsal.Back/Play";
const SHOW: &str = "/rehearsal.Back/Show";
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// A service that is not there, in a message of that.
const NOBODY: &[u8] = b"\x0a\x06nobody";
/// One that is, by its full name.
const BACK: &[u8] = b"\x0a\x0erehearsal.Back";
/// The status SERVING, as the answer to that.
const SERVING: &[u8] = &[8, 1];

/// What is said over HTTP/2, frame by frame, or in its place.
pub(super) fn frames() -> Vec<Stranger> {
    let told_of_http2 = || Answer::new(505).closing();
    vec![
        grpc("pings").says(HELLO).says(ping()).hears_frame(pong()),
        grpc("pings at once, twice")
            .says([HELLO, &ping(), &ping()].concat())
            .hears_frame(pong())
            .hears_frame(pong()),
        grpc("answers pings and says nothing").says(HELLO).awaits_goaway(2000.ms()),
        grpc("answers no pings").says_at_once(HELLO).is_closed_after(SILENCE),
        grpc("speaks HTTP/1.1")
            .says("GET / HTTP/1.1\r\nhost: node\r\n\r\n")
            .hears(told_of_http2())
            .is_closed(),
        grpc("says hello").says("hello").hears_frame(vec![GOAWAY]).is_closed(),
        grpc("takes calls back").of("back").says_at_once(taken_back(4)).says(ping()).hears_frame(pong()),
        grpc("takes many calls back")
            .of("back")
            .says_at_once(taken_back(100))
            .says(ping())
            .hears_frame(pong()),
        grpc("leaves within the preface").says(&HELLO[..9]).half_closes().is_closed(),
    ]
}

/// Calls over gRPC that no client of ours makes.
pub(super) fn calls() -> Vec<Stranger> {
    let most = METADATA_MAX - METADATA_FIELD;
    let taken_back = || play(300.ms()).reset_after(50.ms());
    vec![
        grpc("checks health").calls(check()),
        grpc("checks the health of whom nobody knows")
            .calls(Call::new(CHECK).message(NOBODY).comes_to(Code::NotFound)),
        grpc("checks the health of one service").of("back").calls(check().message(BACK)),
        grpc("has microseconds").of("back").calls(late("300000u", 300.ms())),
        grpc("has nanoseconds").of("back").calls(late("99000000n", 99.ms())),
        grpc("has a second").of("back").calls(late("1S", 1000.ms())),
        grpc("has a minute").of("back").calls(play(300.ms()).timeout("1M")),
        is_no_call("sends what is no gRPC", ("POST", PLAY), "application/json"),
        is_no_call("sends what a browser would", ("POST", PLAY), "application/grpc-web"),
        is_no_call("looks at what is to be called", ("GET", PLAY), "application/grpc"),
        grpc("calls nobody")
            .calls(Call::new("/no.Service/Method").comes_to(Code::Unimplemented))
            .calls(check()),
        grpc("has a timeout that is none")
            .of("back")
            .calls(play(0.ms()).timeout("soon").comes_to(Code::InvalidArgument)),
        grpc("has the largest metadata").of("back").calls(play(0.ms()).metadata(OTHER, most)),
        grpc("has metadata that are too large")
            .of("back")
            .calls(play(0.ms()).metadata(OTHER, most + 1).comes_to(Code::ResourceExhausted))
            .calls(check()),
        grpc("takes calls back while they are handled")
            .of("back")
            .calls(taken_back())
            .calls(taken_back())
            .calls(taken_back())
            .calls(play(0.ms())),
        grpc("reads nothing of what it is shown")
            .of("back")
            .calls(show().timeout("500m").unread_until_reset_after(500.ms() + OVERTIME))
            .calls(check()),
        grpc("is shown more than it has time for")
            .of("back")
            .calls(endless().timeout("500m").comes_to_after(500.ms(), Code::DeadlineExceeded)),
        grpc("leaves its message unfinished")
            .of("back")
            .calls(play(0.ms()).half().comes_to_after(DEADLINE, Code::DeadlineExceeded)),
        grpc("leaves the message unfinished that it is to be shown something for")
            .of("back")
            .calls(show().half().comes_to_after(DEADLINE, Code::DeadlineExceeded)),
        grpc("has an hour, and leaves its message unfinished")
            .of("back")
            .calls(play(0.ms()).half().timeout("1H").comes_to_after(DEADLINE, Code::DeadlineExceeded))
            .calls(check()),
    ]
}

/// Those who have a node hold as much for them as it will.
pub(super) fn hungry() -> Vec<Stranger> {
    vec![
        grpc("reads nothing of what many calls show it")
            .of("back")
            .says_at_once([HELLO, &shown(1, &LARGE)].concat())
            .waits(20.ms())
            .says_at_once(shown(1001, &SMALL))
            .waits(1000.ms()),
    ]
}

/// Those who say a head in two halves, and nothing after its answer for longer than a head may take.
pub(super) fn in_halves() -> Vec<Stranger> {
    let call = http2::call(1, CHECK, b"");
    let (half, rest) = call.split_at(call.len() / 2);
    vec![
        grpc("says a head in two halves, and then nothing")
            .says_at_once([HELLO, half].concat())
            .waits(100.ms())
            .says_at_once(rest.to_owned())
            .hears_frame(vec![HEADERS, END_HEADERS, 0, 0, 0, 1])
            .awaits_goaway(PATIENCE * 2),
    ]
}

/// Those who begin as many calls as a node takes on and say nothing more, until they are given up as silent; and those who do
/// say what they want, late.
pub(super) fn unsaid() -> Vec<Stranger> {
    let begun: Vec<u8> =
        (1..).step_by(2).take(CALLS_MAX as usize).flat_map(|stream| http2::begun(stream, GREET)).collect();
    vec![
        grpc("begins calls and says nothing more")
            .of("service2")
            .says_at_once([HELLO, &begun].concat())
            .is_closed_after(SILENCE),
        // The newest gives way first, maybe while its message comes.
        (1..CALLS_MAX).rev().fold(
            grpc("begins calls and says what it wants, call by call")
                .of("service2")
                .says_at_once([HELLO, &begun].concat())
                .waits(20.ms()),
            |stranger, call| {
                stranger.says_at_once(http2::message(2 * call + 1, b"\x0a\x03odd")).waits(10.ms())
            },
        ),
        grpc("takes its time to say what it wants")
            .of("service2")
            .says_at_once([HELLO, &http2::begun(1, GREET)].concat())
            .waits(SILENCE / 2)
            .says(http2::message(1, b"\x0a\x03odd"))
            .hears_frame([&[HEADERS, END_HEADERS][..], &1_u32.to_be_bytes()].concat()),
    ]
}

/// Those who take their time with the preface, or have nothing more to say.
pub(super) fn slow() -> Vec<Stranger> {
    let pause = PATIENCE * 3 / 10;
    vec![
        grpc("says nothing").is_closed_after(PATIENCE),
        grpc("begins the preface").adds(&HELLO[..9]).is_closed_after(PATIENCE),
        grpc("dribbles the preface for too long")
            .says(&HELLO[..3])
            .waits(pause)
            .adds(&HELLO[3..6])
            .waits(pause)
            .adds(&HELLO[6..9])
            .waits(pause)
            .adds(&HELLO[9..12])
            .is_closed_after(PATIENCE),
        grpc("answers pings for long").says(HELLO).awaits_goaway(PATIENCE * 2),
    ]
}

/// Those whom a drain meets.
pub(super) fn leaving() -> Vec<Stranger> {
    let stays = DRAIN_MAX * 2;
    vec![
        grpc("says nothing, and stays").waits(stays),
        grpc("begins the preface, and stays").says(&HELLO[..9]).waits(stays),
        grpc("stays after GOAWAY").says_at_once(HELLO).awaits_goaway(stays).waits(stays),
        grpc("watches whom nobody knows").says_at_once(watch()).awaits_goaway(stays),
        grpc("speaks on after GOAWAY").says_at_once(HELLO).awaits_goaway(stays).is_read(ping(), 10),
    ]
}

fn grpc(name: &'static str) -> Stranger {
    Stranger::over_grpc(name)
}

/// One that is answered by a status of HTTP alone.
fn is_no_call(name: &'static str, asks: (&str, &str), content_type: &str) -> Stranger {
    // One without an entry of its own in the table of HPACK, as 405 and 415.
    const OTHER_STATUS: u8 = 0x48;
    let answer = [&[HEADERS, END_HEADERS | END_STREAM][..], &1_u32.to_be_bytes(), &[OTHER_STATUS]].concat();
    grpc(name).says([HELLO, &http2::bare(1, asks, content_type)].concat()).hears_frame(answer)
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"stranger")
}

/// The answer to that, from its type on.
fn pong() -> Vec<u8> {
    frame(PING, ACK, 0, b"stranger").split_off(3)
}

/// So many calls, each taken back in the segment that it comes in.
fn taken_back(count: u32) -> Vec<u8> {
    let message = Script { text: "odd".to_owned(), ..Script::default() }.encode_to_vec();
    let calls = (0..count).map(|call| call * 2 + 1).flat_map(|stream| {
        [http2::call(stream, TAKEN_BACK, &message), frame(RST_STREAM, 0, stream, CANCEL)].concat()
    });
    HELLO.iter().copied().chain(calls).collect()
}

/// Calls on streams from `first` on, so many for messages of so many bytes each, which are shown more than HTTP/2 takes unread.
fn shown(first: u32, calls: &[(u32, u32)]) -> Vec<u8> {
    let sizes = calls.iter().flat_map(|(count, bytes)| (0..*count).map(|_| *bytes));
    let streams = (first..).step_by(2);
    streams.zip(sizes).flat_map(|(stream, bytes)| http2::call(stream, SHOW, &shows(10, bytes))).collect()
}

fn play(wait: Duration) -> Call {
    let wait_ms = u32::try_from(wait.as_millis()).expect("a second at most");
    Call::new(PLAY).message(Script { text: "odd".to_owned(), wait_ms, ..Script::default() }.encode_to_vec())
}

/// More than HTTP/2 takes unread.
fn show() -> Call {
    Call::new(SHOW).message(shows(10, 20_000))
}

/// What lasts for longer than anybody waits, and never pauses.
fn endless() -> Call {
    Call::new(SHOW).message(shows(100_000, 2000))
}

/// Asks for so many messages of so many bytes.
fn shows(scenes: u32, answer_bytes: u32) -> Vec<u8> {
    Script { text: "odd".to_owned(), scenes, answer_bytes, ..Script::default() }.encode_to_vec()
}

/// A call that has this timeout, and is not done by then.
fn late(timeout: &'static str, after: Duration) -> Call {
    play(1500.ms()).timeout(timeout).comes_to_after(after, Code::DeadlineExceeded)
}

/// A call that lasts until the node drains.
fn watch() -> Vec<u8> {
    [HELLO, &http2::call(1, "/grpc.health.v1.Health/Watch", NOBODY)].concat()
}

fn check() -> Call {
    Call::new(CHECK).answered_with(SERVING)
}
