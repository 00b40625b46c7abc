//! Which metadata belong to the user, and which to gRPC and this crate.

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::{RequestId, Result, Status};

/// The request id, as most systems write it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The request id, as the Python services of the first hour write it.
pub(crate) const REQUEST_ID_PLAIN: HeaderName = HeaderName::from_static("request_id");
/// The deadline on the wire.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The most metadata that one call may carry, in bytes, names and values together: gRPC's usual limit.
pub(crate) const METADATA_MAX: usize = 8 * 1024;

/// Reads the request id from `headers`, or makes one.
pub(crate) fn request_id(headers: &HeaderMap) -> RequestId {
    RequestId::accept([REQUEST_ID, REQUEST_ID_PLAIN].map(|name| headers.get(name).map(HeaderValue::as_bytes)))
}

/// Writes the request id under both names.
pub(crate) fn insert_request_id(headers: &mut HeaderMap, id: &RequestId) {
    headers.insert(REQUEST_ID, id.header());
    headers.insert(REQUEST_ID_PLAIN, id.header());
}

/// Leaves of `headers` what the user put there: mostly nothing.
pub(crate) fn of_user(mut headers: HeaderMap) -> MetadataMap {
    let is_ours = |name: &HeaderName| is_reserved(name.as_str());
    if headers.keys().all(is_ours) {
        return MetadataMap::new();
    }
    let ours: Vec<_> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    MetadataMap::from_headers(headers)
}

/// All of `first` and all of `second`.
pub(crate) fn join(first: MetadataMap, second: MetadataMap) -> HeaderMap {
    let (mut joined, second) = (first.into_headers(), second.into_headers());
    if joined.is_empty() {
        return second;
    }
    for (name, value) in &second {
        joined.append(name, value.clone());
    }
    joined
}

/// Refuses metadata that would not fit on the wire, so that no carrier has its own opinion.
pub(crate) fn check_size(metadata: &MetadataMap) -> Result<()> {
    let size: usize = metadata.as_ref().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > METADATA_MAX {
        return Err(Status::resource_exhausted(format!(
            "the metadata have {size} bytes, the limit is {METADATA_MAX}"
        )));
    }
    Ok(())
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("grpc-")
        || matches!(
            name,
            "content-type" | "content-length" | "te" | "user-agent" | "date" | "x-request-id" | "request_id"
        )
}
