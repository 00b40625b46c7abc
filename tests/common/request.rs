//! Calls that are made without a client.

use std::sync::Arc;

use probe_contract::ActRequest;
use probe_contract::probe::Act;
use transport::channel::Request;
use transport::contract::Body as _;
use transport::policy::Policy;
use transport::trail::Trail;
use transport::{Method as _, RequestId};

use super::SOON;

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
