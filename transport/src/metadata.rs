//! Which metadata belong to the user, and which to gRPC and this crate.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::criticality::CRITICALITY;
use crate::request_id::RequestId;
use crate::status::{Result, Status};

/// What a field takes besides its name and its value (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

/// What it takes in memory besides, or a little more.
const IN_MEMORY: usize = 208;

/// The request id, as most systems write it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The request id, as the Python services of the first hour write it.
pub(crate) const REQUEST_ID_PLAIN: HeaderName = HeaderName::from_static("request_id");
/// The deadline on the wire.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// How often a call was tried before (gRFC A6).
pub(crate) const GRPC_PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
/// What a callee says of being called again: so many milliseconds, or not at all (gRFC A6).
pub(crate) const GRPC_RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// That the caller may repeat the call, or somebody further out.
pub(crate) const CALLER_REPEATS: HeaderName = HeaderName::from_static("x-caller-repeats");
/// The code of a status.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The details of a status, in base64.
pub(crate) const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The most metadata of the user's that one call may carry, in bytes, as HTTP/2 counts them ([`size`]): gRPC's usual
/// limit.
pub(crate) const METADATA_MAX: usize = 8 * 1024;

/// What a callee says of its call being repeated (`grpc-retry-pushback-ms`, gRFC A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Not before this time has passed.
    Wait(Duration),
    /// Not at all.
    Stop,
}

/// Reads the request id from `headers`, or makes one.
pub(crate) fn request_id(headers: &HeaderMap) -> RequestId {
    let under = |name| headers.get(name).map(HeaderValue::as_bytes);
    // The second one is looked for where the first is of no use.
    RequestId::accept([REQUEST_ID, REQUEST_ID_PLAIN].into_iter().map(under))
}

/// Writes the request id under both names. `is_named` says whether the connection that the headers go over knows these.
pub(crate) fn insert_request_id(headers: &mut HeaderMap, id: &RequestId, is_named: bool) {
    headers.insert(REQUEST_ID, varying(id.header(), is_named));
    headers.insert(REQUEST_ID_PLAIN, varying(id.header(), is_named));
}

/// A value that is another one in each call. HTTP/2 keeps a table of headers at both ends of a connection (HPACK, RFC 7541,
/// section 2.3.2): there it would push out what is the same each time, and be looked through in vain. So it stays out
/// (section 6.2.3), but for the first one, which puts its name there.
pub(crate) fn varying(mut value: HeaderValue, is_named: bool) -> HeaderValue {
    value.set_sensitive(is_named);
    value
}

/// Whether a call with these `headers` may be repeated by its caller, or by somebody further out.
pub(crate) fn is_repeated_outside(headers: &HeaderMap) -> bool {
    headers.contains_key(CALLER_REPEATS)
}

/// Tells the callee which attempt this is, and whether there may be others.
pub(crate) fn insert_attempt(headers: &mut HeaderMap, attempt: u32, repeated_outside: bool) {
    if attempt > 0 {
        headers.insert(GRPC_PREVIOUS_ATTEMPTS, attempt.into());
    }
    if repeated_outside {
        headers.insert(CALLER_REPEATS, HeaderValue::from_static("1"));
    }
}

/// What a callee says with a failure of being called again. What cannot be read means not at all.
pub(crate) fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let said = headers.get(GRPC_RETRY_PUSHBACK)?;
    let wait = said.to_str().ok().and_then(|text| text.parse().ok());
    Some(wait.map_or(Pushback::Stop, |wait| Pushback::Wait(Duration::from_millis(wait))))
}

/// Leaves of `headers` what the user put there: mostly nothing.
pub(crate) fn of_user(mut headers: HeaderMap) -> MetadataMap {
    if headers.is_empty() {
        return MetadataMap::from_headers(headers);
    }
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

/// The same of what goes with an error, and what that says of being called again.
pub(crate) fn of_error(headers: HeaderMap) -> MetadataMap {
    let pushback = headers.get(GRPC_RETRY_PUSHBACK).cloned();
    let mut left = of_user(headers);
    if let Some(pushback) = pushback {
        left.as_mut().insert(GRPC_RETRY_PUSHBACK, pushback);
    }
    left
}

/// All of `first` and all of `second`; of what a call comes with, one is empty nearly always.
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

/// The size of a head, as HTTP/2 counts it: names, values, and something for each field.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| field(name.as_str(), value.as_bytes())).sum()
}

/// What a head takes in memory, or a little more: a map has some 200 bytes for each field where it has just grown, however short
/// that is.
pub(crate) fn weight(headers: &HeaderMap) -> usize {
    size(headers) + headers.len() * (IN_MEMORY - FIELD)
}

/// Of the headers of a call that is refused because they weigh too much, those that its refusal needs, in memory of their own.
pub(crate) fn of_refused(headers: &HeaderMap) -> HeaderMap {
    let kept = [REQUEST_ID, REQUEST_ID_PLAIN, CONTENT_TYPE, GRPC_TIMEOUT].into_iter();
    let copied = kept.filter_map(|name| {
        let value = HeaderValue::from_bytes(headers.get(&name)?.as_bytes()).ok()?;
        Some((name, value))
    });
    copied.collect()
}

/// The size of one field of a head.
pub(crate) fn field(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + FIELD
}

/// Refuses metadata that would not fit on the wire, so that no carrier has its own opinion.
pub(crate) fn check_size(metadata: &MetadataMap) -> Result<()> {
    let size = size(metadata.as_ref());
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
            "content-type"
                | "content-length"
                | "te"
                | "user-agent"
                | "date"
                | "x-request-id"
                | "request_id"
                | "x-caller-repeats"
        )
        || name == CRITICALITY
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    const RESERVED: [&str; 10] = [
        "grpc-timeout",
        "content-type",
        "content-length",
        "te",
        "user-agent",
        "date",
        "x-request-id",
        "request_id",
        "x-criticality",
        "x-caller-repeats",
    ];

    /// Names that are the user's, names that are not, and a few that come twice.
    fn headers() -> impl Strategy<Value = HeaderMap> {
        let name = prop_oneof![
            3 => "[a-d]",
            3 => "[a-z][a-z0-9_.-]{0,11}",
            1 => "(x-)?[a-z]{1,8}-bin",
            1 => "grpc(-[a-z]{1,8})?",
            2 => prop::sample::select(&RESERVED[..]).prop_map(str::to_owned),
        ];
        prop::collection::vec((name, "[!-~]([ -~]{0,16}[!-~])?"), 0..12).prop_map(|entries| {
            let entry = |(name, value): (String, String)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            };
            entries.into_iter().map(entry).collect()
        })
    }

    /// All values of each name, in their order.
    fn entries(headers: &HeaderMap) -> BTreeMap<&str, Vec<&HeaderValue>> {
        headers.keys().map(|name| (name.as_str(), headers.get_all(name).iter().collect())).collect()
    }

    proptest! {
        #[test]
        fn the_user_keeps_all_that_is_not_reserved_and_nothing_else(headers in headers()) {
            let mut expected = entries(&headers);
            expected.retain(|name, _| !RESERVED.contains(name) && !name.starts_with("grpc-"));
            let left = of_user(headers.clone());
            prop_assert_eq!(entries(left.as_ref()), expected);
        }

        #[test]
        fn joined_metadata_are_all_of_the_first_and_then_all_of_the_second(
            first in headers(), second in headers()
        ) {
            let mut expected = entries(&first);
            for (name, values) in entries(&second) {
                expected.entry(name).or_default().extend(values);
            }
            let map = |headers: &HeaderMap| MetadataMap::from_headers(headers.clone());
            let joined = join(map(&first), map(&second));
            prop_assert_eq!(entries(&joined), expected);
        }

        #[test]
        fn what_is_no_number_of_milliseconds_means_not_again(said in "[!-~]{0,6}") {
            let header = |said: &str| HeaderMap::from_iter([(GRPC_RETRY_PUSHBACK, said.parse().unwrap())]);
            let number = said.parse::<u64>().ok();
            let expected = number.map_or(Pushback::Stop, |wait| Pushback::Wait(Duration::from_millis(wait)));
            prop_assert_eq!(pushback(&header(&said)), Some(expected));
            prop_assert_eq!(pushback(&HeaderMap::new()), None);
        }

        #[test]
        fn metadata_are_refused_exactly_above_the_limit(
            names in prop::collection::btree_set("[a-z]{1,20}", 1..5), size in METADATA_MAX - 200..METADATA_MAX + 200
        ) {
            let mut headers = HeaderMap::new();
            let mut left = size;
            for name in &names {
                let length = (size / names.len()).min(left) - name.len() - FIELD;
                headers.insert(name.parse::<HeaderName>()?, "x".repeat(length).parse::<HeaderValue>()?);
                left -= name.len() + length + FIELD;
            }
            let checked = check_size(&MetadataMap::from_headers(headers)).map_err(|status| status.code());
            let expected = if size - left > METADATA_MAX { Err(Code::ResourceExhausted) } else { Ok(()) };
            prop_assert_eq!(checked, expected);
        }

        #[test]
        fn whatever_a_caller_sends_as_its_id_the_id_is_safe(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..140), 0..3)) {
            let mut headers = HeaderMap::new();
            for (name, value) in [REQUEST_ID, REQUEST_ID_PLAIN, REQUEST_ID].into_iter().zip(values) {
                // What is no header's value never comes so far.
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            let id = request_id(&headers);
            prop_assert!((1..=128).contains(&id.as_str().len()) && id.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(of_user(headers).is_empty());
        }

        #[test]
        fn a_request_id_that_is_written_is_read_again(
            mut headers in headers(), id in "[!-~]{1,128}"
        ) {
            let id = RequestId::parse(id.as_bytes()).expect("visible ASCII is an id");
            insert_request_id(&mut headers, &id, true);
            prop_assert_eq!(request_id(&headers), id);
        }
    }
}
