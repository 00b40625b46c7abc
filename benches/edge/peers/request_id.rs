//! The request id, as the node treats it: taken over where it is well-formed, fresh otherwise, and sent back.

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use uuid::Uuid;

pub(crate) const HEADER: &str = "x-request-id";
const OTHER_KEY: &str = "request_id";

#[expect(clippy::disallowed_methods, reason = "a peer draws its ids as the node does")]
pub(crate) fn or_fresh(value: Option<&str>) -> String {
    value.filter(|text| well_formed(text)).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

pub(crate) fn of_metadata(metadata: &MetadataMap) -> Option<&str> {
    metadata.get(HEADER).or_else(|| metadata.get(OTHER_KEY)).and_then(|value| value.to_str().ok())
}

pub(crate) fn insert(metadata: &mut MetadataMap, request_id: &str) {
    let value: MetadataValue<Ascii> = request_id.parse().expect("a well-formed id is visible ASCII");
    metadata.insert(HEADER, value.clone());
    metadata.insert(OTHER_KEY, value);
}

fn well_formed(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
