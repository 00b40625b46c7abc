//! What a call asked and what it got, as messages of its rpc.

use sim::CallRecord;
use transport::{Contract, Method};

use crate::load::is_named;
use crate::rpc::{JsonMessage, StreamOf};

/// The request of `call`, if it is a call of `M`. An id that was written into it is missing.
#[must_use]
pub fn request<M>(call: &CallRecord) -> Option<M::Request>
where
    M: Method<Request: JsonMessage>,
{
    if is_of::<M>(call) { serde_json::from_str(&call.request.argument).ok() } else { None }
}

/// The messages of the request of `call`, if it is a call of `M`, whose requests are streams.
#[must_use]
pub fn requests<M>(call: &CallRecord) -> Option<Vec<<M::Request as StreamOf>::Item>>
where
    M: Method<Request: StreamOf>,
{
    if is_of::<M>(call) { serde_json::from_str(&call.request.argument).ok() } else { None }
}

/// The answer to `call`, if it is a call of `M` and has worked.
#[must_use]
pub fn answer<M>(call: &CallRecord) -> Option<M::Response>
where
    M: Method<Response: JsonMessage>,
{
    let reply = call.reply.as_ref().filter(|reply| reply.is_ok() && is_of::<M>(call))?;
    serde_json::from_str(&reply.value).ok()
}

fn is_of<M: Method>(call: &CallRecord) -> bool {
    is_named(&call.request.kind, <M::Contract as Contract>::NAME, M::PATH)
}
