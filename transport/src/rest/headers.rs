//! Between the headers of HTTP and metadata: which go in as which, and which come out.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tonic::metadata::MetadataMap;

use crate::criticality::Criticality;
use crate::key::IDEMPOTENCY_KEY;
use crate::metadata::{self, GRPC_RETRY_PUSHBACK, Pushback, pushback};

/// The headers that reach handlers. Both crates of HTTP have names of their own; they are made once.
#[derive(Debug)]
pub(super) struct LetThrough(Vec<(HeaderName, http::HeaderName)>);

/// A header's name, as both crates of HTTP have it; none if it is no name.
pub(super) fn name_in_both(name: &str) -> Option<(HeaderName, http::HeaderName)> {
    let name = name.as_bytes();
    Some((HeaderName::from_bytes(name).ok()?, http::HeaderName::from_bytes(name).ok()?))
}

/// The same headers, and the one that says which call it is.
pub(super) fn with_key(mut headers: Vec<String>) -> Vec<String> {
    if !headers.iter().any(|name| **name == IDEMPOTENCY_KEY) {
        headers.push(IDEMPOTENCY_KEY.to_string());
    }
    headers
}

impl LetThrough {
    /// What is no name of a header is left out: the configuration has refused it.
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().filter_map(|name| name_in_both(name)).collect())
    }

    /// The metadata of a call: those headers that are let through, without those that are this crate's own. How much the
    /// call matters is its client's to say only where that header is let through, too.
    pub(super) fn metadata_of(&self, headers: &HeaderMap) -> (MetadataMap, Criticality) {
        // Mostly there are none, and looking at the few headers that came is less work than to look each name up.
        let is_let_through = |name: &HeaderName| self.0.iter().any(|(known, _)| known == name);
        if !headers.keys().any(is_let_through) {
            return (MetadataMap::new(), Criticality::Default);
        }
        let mut metadata = http::HeaderMap::new();
        // In the order of the list: that of the map differs from run to run.
        for (name, key) in &self.0 {
            for value in headers.get_all(name) {
                if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                    metadata.append(key.clone(), value);
                }
            }
        }
        let criticality = Criticality::said(&metadata).unwrap_or_default();
        (metadata::of_user(metadata), criticality)
    }
}

/// What of the metadata of an answer must not become a header: it says how the message is framed.
const FRAMING: [&str; 6] =
    ["connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "content-encoding"];

/// Whether the edge itself sets the header of this name, in lower case, on some answer.
#[must_use]
pub fn is_set_by_edge(name: &str) -> bool {
    const OWN: [&str; 6] = ["x-request-id", "content-type", "content-length", "date", "allow", "retry-after"];
    OWN.contains(&name) || FRAMING.contains(&name)
}

/// Adds what the handler said besides its answer.
pub(super) fn add_metadata(response: &mut HttpResponse, metadata: &MetadataMap) {
    let is_for_clients = |name: &str| !FRAMING.contains(&name) && name != GRPC_RETRY_PUSHBACK.as_str();
    for (name, value) in metadata.as_ref().iter().filter(|(name, _)| is_for_clients(name.as_str())) {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().append(name, value);
        }
    }
}

/// Adds when the call may be made again, in whole seconds (RFC 9110, section 10.2.3), if its handler says so.
pub(super) fn add_retry_after(response: &mut HttpResponse, metadata: &MetadataMap) {
    if let Some(Pushback::Wait(wait)) = pushback(metadata.as_ref()) {
        let seconds = wait.as_millis().div_ceil(1000);
        let seconds = HeaderValue::from_str(&seconds.to_string()).expect("a number fits a header");
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
}
