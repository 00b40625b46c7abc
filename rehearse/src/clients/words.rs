//! A client's own words for what ended a call that the node said nothing about.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use sim::{Reply, Request};
use tokio::time::timeout;

use super::codes::code_named;
use crate::load::Kind;
use crate::rpc::Trouble;

/// The client waited for as long as it was willing to.
pub const GAVE_UP: &str = "GAVE UP";
/// There was no connection to send the call over, or the node says that it did not read it.
pub const NOT_SENT: &str = "NOT SENT";
/// The connection broke under the call.
pub const BROKEN: &str = "BROKEN";
/// The node closed the connection, and had said nothing of the call.
pub const HUNG_UP: &str = "HUNG UP";
/// The answer is none that a client could read.
pub const MALFORMED: &str = "MALFORMED";

/// What a client expected and did not get: the answer is malformed.
#[derive(Debug)]
pub(super) struct Unexpected(pub(super) String);

impl std::fmt::Display for Unexpected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unexpected {}

/// The same reply, marked if it is one of those that are right for this sort of call.
pub(super) fn judged(reply: Reply, kind: Option<&Kind>, request: &Request) -> Reply {
    if reply.is_right {
        return reply;
    }
    let code = code_named(&reply.status);
    let is_right =
        code.zip(kind).is_some_and(|(code, kind)| kind.expect.of(&request.argument).contains(&code));
    if is_right { reply.right() } else { reply }
}

/// What comes of `call` by the client's own deadline, or the client's own word for what ended it.
pub(super) async fn within(deadline: Duration, call: impl Future<Output = Result<Reply, Trouble>>) -> Reply {
    match timeout(deadline, call).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => failed(&*error),
        Err(_) => Reply::failed(GAVE_UP, "the client's own deadline"),
    }
}

/// The reply to a call that ended with `error`.
pub(super) fn failed(error: &(dyn Error + 'static)) -> Reply {
    Reply::failed(own_word(error), error.to_string())
}

fn own_word(error: &(dyn Error + 'static)) -> &'static str {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.find_map(word_for).unwrap_or(BROKEN)
}

fn word_for(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    if cause.is::<serde_json::Error>() || cause.is::<Unexpected>() || cause.is::<prost::DecodeError>() {
        return Some(MALFORMED);
    }
    if let Some(http) = cause.downcast_ref::<hyper::Error>() {
        let word = if http.is_incomplete_message() { HUNG_UP } else { NOT_SENT };
        return (http.is_incomplete_message() || http.is_canceled()).then_some(word);
    }
    let io = cause.downcast_ref::<std::io::Error>();
    let is_refused = io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
    (is_refused || cause.downcast_ref().is_some_and(is_unread)).then_some(NOT_SENT)
}

/// Whether the node vouches for not having read the call: it refused the stream, or went away below it.
fn is_unread(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() || error.reason() == Some(h2::Reason::REFUSED_STREAM)
}
