//! What strangers say to a node, and what they hear: a table.

mod grpc;
mod rest;

use std::time::Duration;

use rehearse::strangers::Stranger;

/// The deadline of the nodes, and the largest body that they take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
pub(crate) const BODY_MAX: usize = 32 * 1024;

/// How long a client may take to send a head, or the preface of HTTP/2.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long nodes take to drain that are left in peace: a moment, and a second for clients to close.
const DRAIN_MAX: Duration = Duration::from_millis(1200);

/// How many calls a node takes on where there are those who do not say what they want.
pub(crate) const CALLS_MAX: u32 = 12;

/// A path that only calls go to that are taken back.
pub(crate) const TAKEN_BACK: &str = "/rehearsal.Back/Glance";

/// Those who are through at once.
pub(crate) fn quick() -> Vec<Stranger> {
    [rest::forms(), rest::refusals(), rest::bodies(), grpc::frames(), grpc::calls()].concat()
}

/// Those who have a node hold as much for them as it will.
pub(crate) fn hungry() -> Vec<Stranger> {
    grpc::hungry()
}

/// Those who begin as many calls as a node takes on, and do not say what they want.
pub(crate) fn unsaid() -> Vec<Stranger> {
    grpc::unsaid()
}

/// Those who say a head in halves, or a large one, and stay.
pub(crate) fn in_halves() -> Vec<Stranger> {
    [grpc::in_halves(), rest::stays()].concat()
}

/// Those who take their time.
pub(crate) fn slow() -> Vec<Stranger> {
    [rest::slow(), grpc::slow()].concat()
}

/// Those who are idle for as long as they may.
pub(crate) fn silent() -> Vec<Stranger> {
    rest::silent()
}

/// Those whom a drain meets.
pub(crate) fn in_a_drain() -> Vec<Stranger> {
    [rest::refusals(), grpc::frames(), rest::leaving(), grpc::leaving()].concat()
}
