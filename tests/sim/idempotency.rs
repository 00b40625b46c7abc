//! How calls carry idempotency keys.

use rehearse::Request;
use rehearse::proptest::strategy::Strategy;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The metadata of calls that have these keys. An empty key is none.
pub(crate) fn metadata(keys: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(String, String)>> {
    keys.prop_map(|key| if key.is_empty() { Vec::new() } else { vec![(IDEMPOTENCY_KEY.to_owned(), key)] })
}

/// The idempotency key of a call, without quotes.
pub(crate) fn key(request: &Request) -> Option<String> {
    let (_, key) = request.metadata.iter().find(|(name, _)| name == IDEMPOTENCY_KEY)?;
    Some(key.trim_matches('"').to_owned())
}
