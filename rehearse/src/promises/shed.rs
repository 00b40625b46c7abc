//! Calls that can be done without: a service refuses them while it takes on others.

use sim::Request;

use crate::load::Via;

/// Whether a client says so of its call.
pub(super) fn is_sheddable(request: &Request) -> bool {
    request.metadata.iter().any(|(name, value)| name == "x-criticality" && value == "sheddable")
}

/// Whether the node hears it: over REST, its flags may keep that from it.
pub(super) fn is_heard(request: &Request) -> bool {
    is_sheddable(request) && request.client == Via::Grpc.client()
}

/// How many of `most` permits may be taken when such a call is let in, itself included.
pub(super) fn share(most: usize) -> usize {
    most - most / 4
}
