//! What a body of JSON costs is what the budget counts, its bytes, whatever is in it: nothing is put together of what is no part of
//! the message.

mod common;

use common::http1::Edge;
use common::run;
use transport::Limits;

const MIB: usize = 1024 * 1024;

/// Far more than the edge, its client and the pipe between them hold of a body, and far less than a tree of what is in it.
const PEAK_GROWS_BY: usize = 64 * MIB;

/// As many objects as fit into a message, in which they are no part of anything.
fn objects() -> String {
    let objects = vec![r#"{"a":0}"#; 4 * MIB / r#"{"a":0},"#.len() - 16];
    format!("[{}]", objects.join(","))
}

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has a line for it");
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// What the edge answers to a body; the memory of the process does not grow by a multiple of it.
#[track_caller]
fn answer(target: &str, body: &str) -> String {
    let length = format!("content-length: {}\r\ncontent-type: application/json\r\n", body.len());
    let request = format!("{target} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n{length}\r\n{body}");
    let before = peak();
    let answer = run(async {
        let edge = Edge::within(Limits::default()).await;
        edge.told(&request).await.rest().await
    });
    let grown = peak() - before;
    assert!(grown < PEAK_GROWS_BY, "{} MiB for {} MiB", grown / MIB, body.len() / MIB);
    answer
}

#[track_caller]
fn assert_is_refused(answer: &str, because: &str) {
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(because), "{answer}");
}

#[test]
fn a_body_beside_fields_in_the_path_costs_no_multiple_of_it() {
    let answer = answer("POST /probe/said", &format!(r#"{{"unknown":{},"loud":true}}"#, objects()));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""text":"SAID""#), "{answer}");
}

#[test]
fn a_body_that_ends_with_a_wrong_type_costs_no_multiple_of_it() {
    let body = format!(r#"{{"unknown":{},"loud":1}}"#, objects());
    for target in ["PUT /probe", "POST /probe/said"] {
        assert_is_refused(&answer(target, &body), "the body is wrong: loud: invalid type: integer `1`");
    }
}

#[test]
fn objects_in_place_of_a_number_cost_no_multiple_of_them() {
    let body = format!(r#"{{"numbers":[{}]}}"#, objects());
    for target in ["PUT /probe", "POST /probe/said"] {
        assert_is_refused(&answer(target, &body), "the body is wrong: numbers[0]: ");
    }
}
