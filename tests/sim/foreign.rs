//! A service1 that is no node.

use std::ops::Range;
use std::time::Duration;

use protos::app::grpc::ProcessNameResponse;
use protos::app::grpc::service1::{ProcessName, Service1};
use rehearse::{Code, Failed, Foreign};

/// What one says that is ill.
pub(crate) fn ill() -> Failed {
    Failed::new(Code::Unavailable, "ill")
}

/// When one that says whether it serves does not: when nobody asks any more.
pub(crate) const RESTS: Range<Duration> = Duration::from_secs(900)..Duration::from_secs(1800);

/// One that answers as a node would.
pub(crate) fn service1() -> Foreign {
    service1_that_fails(|_| None)
}

/// One that answers as a node would, but for the names of which `failure_for` says how it fails.
pub(crate) fn service1_that_fails(failure_for: fn(&str) -> Option<Failed>) -> Foreign {
    Foreign::of::<Service1>().answer::<ProcessName>(move |request| match failure_for(&request.name) {
        Some(failed) => Err(failed),
        None => Ok(ProcessNameResponse { name: request.name.to_uppercase() }),
    })
}
