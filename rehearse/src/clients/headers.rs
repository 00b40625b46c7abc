//! What a plan has its requests send along, and what comes along with an answer: as headers.

use http::{HeaderMap, HeaderName, HeaderValue};
use sim::Request;

use crate::rpc::Trouble;

/// The header in which the request id goes.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name under which it went in the first hour, and under which it still may over gRPC.
const REQUEST_ID_PLAIN: HeaderName = HeaderName::from_static("request_id");

/// Headers that HTTP or gRPC have of their own, over either edge: all others are metadata.
const OWN: [&str; 13] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "request_id",
    "te",
    "transfer-encoding",
    "x-request-id",
];

/// Adds the request id and the metadata that the plan has for `request`.
pub(super) fn add_to<B>(head: &mut http::Request<B>, request: &Request) -> Result<(), Trouble> {
    if let Some(id) = request.id_sent() {
        head.headers_mut().insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes())?);
    }
    for (name, value) in &request.metadata {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        head.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(())
}

/// Has every second request carry its id under the plain name, as old clients do over gRPC.
pub(super) fn name_plainly<B>(head: &mut http::Request<B>, request: &Request) {
    let id = if request.id % 2 == 1 { head.headers_mut().remove(REQUEST_ID) } else { None };
    id.into_iter().for_each(|id| drop(head.headers_mut().insert(REQUEST_ID_PLAIN, id)));
}

/// The request id that came back with an answer over gRPC: under both names.
pub(super) fn id_of_both(field: impl Fn(&str) -> Option<String>) -> Option<String> {
    match (field(REQUEST_ID.as_str()), field(REQUEST_ID_PLAIN.as_str())) {
        (named, plain) if named == plain => named,
        (named, plain) => {
            let [named, plain] = [named, plain].map(|id| id.unwrap_or_else(|| "nothing".to_owned()));
            Some(format!("{named} as {REQUEST_ID}, and {plain} as {REQUEST_ID_PLAIN}"))
        }
    }
}

/// The request id that came back with an answer.
pub(super) fn id_of(headers: &HeaderMap) -> Option<String> {
    headers.get(REQUEST_ID)?.to_str().ok().map(str::to_owned)
}

/// The metadata that came along with an answer, in the order of its names.
pub(super) fn metadata_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let of_user = headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut metadata: Vec<_> = of_user.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    metadata.sort_by(|(one, _), (other, _)| one.cmp(other));
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_of_http_nor_of_grpc_is_metadata() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-b", "2"), ("grpc-status", "0"), ("x-a", "1"), ("x-b", "1"), ("date", "now")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(metadata_of(&headers), [pair("x-a", "1"), pair("x-b", "2"), pair("x-b", "1")]);
    }
}
