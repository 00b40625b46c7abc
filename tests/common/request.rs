//! Calls that are made without a client, and one that may be made twice.

use std::sync::Arc;

use probe_contract::probe::{Act, Probe};
use probe_contract::{ActRequest, ActResponse};
use transport::channel::Request;
use transport::contract::Body as _;
use transport::policy::Policy;
use transport::trail::Trail;
use transport::{Idempotency, Method, RequestId};

use super::limits::SOON;

/// The same as [`Act`], by a contract that says that it may be called twice.
pub(crate) struct ActTwice;

impl Method for ActTwice {
    type Request = ActRequest;
    type Response = ActResponse;
    type Contract = Probe;
    const PATH: &'static str = Act::PATH;
    const IDEMPOTENCY: Idempotency = Idempotency::Idempotent;
}

/// A call of `Act` as a carrier gets it, tried for the first time.
pub(crate) fn act_request() -> Request {
    Request {
        path: Act::PATH,
        streaming: false,
        request_id: RequestId::fresh(),
        deadline: None,
        starts_by: None,
        attempt: 0,
        wait_for_ready: false,
        policy: Arc::new(Policy::new(SOON)),
        idempotent: false,
        repeated_outside: false,
        trail: Trail::default(),
        metadata: Default::default(),
        body: ActRequest::default().into_payload(),
    }
}
