//! Details of a status that are no base64, over which tonic panics: code and message are as good without.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tonic::metadata::MetadataMap;

use crate::metadata;

/// Trailers are headers that come last.
pub(super) fn checked(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.trailers_mut().into_iter().for_each(without_broken_details);
    frame
}

/// Leaves out details that cannot be read.
pub(super) fn without_broken_details(headers: &mut HeaderMap) {
    if !headers.contains_key(metadata::GRPC_STATUS_DETAILS) {
        return;
    }
    let map = MetadataMap::from_headers(std::mem::take(headers));
    let details = map.get_bin(metadata::GRPC_STATUS_DETAILS.as_str());
    let are_broken = details.is_none_or(|details| details.to_bytes().is_err());
    *headers = map.into_headers();
    if are_broken {
        headers.remove(metadata::GRPC_STATUS_DETAILS);
    }
}
