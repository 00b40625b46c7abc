//! The id that follows one request through every hop, log line and answer.

use std::fmt;

use http::HeaderValue;
use uuid::Uuid;

/// The longest id that is accepted, in bytes.
const LENGTH_MAX: usize = 128;

/// The id of a request: 1 to 128 visible ASCII characters, so that it is safe in any header and any log.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A fresh one: a UUID, version 4.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where ids come from; a rehearsal seeds them")]
    pub fn fresh() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("a UUID is visible ASCII"))
    }

    /// The id that came with a request, if it may be used.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let usable = !text.is_empty() && text.len() <= LENGTH_MAX && text.iter().all(u8::is_ascii_graphic);
        usable.then(|| Self(HeaderValue::from_bytes(text).expect("visible ASCII is a header value")))
    }

    /// The first of `candidates` that may be used, or else a fresh one.
    #[must_use]
    pub fn accept<'a>(candidates: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        candidates.into_iter().flatten().find_map(Self::parse).unwrap_or_else(Self::fresh)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("checked when it was made")
    }

    /// The id as a header's value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unusable_id_is_replaced_by_a_uuid() {
        for bad in [&b""[..], b"two words", b"line\nbreak", "\u{e9}".as_bytes(), &[b'x'; 129]] {
            let id = RequestId::accept([Some(bad)]);
            let uuid = Uuid::parse_str(id.as_str()).expect("a fresh id is a UUID");
            assert_eq!(uuid.get_version_num(), 4);
        }
    }

    #[test]
    fn the_first_usable_candidate_is_taken() {
        let id = RequestId::accept([None, Some(&b"not ok"[..]), Some(b"ok"), Some(b"late")]);
        assert_eq!(id.as_str(), "ok");
    }

    proptest! {
        #[test]
        fn an_id_is_taken_as_it_is_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let usable = (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| (0x21..=0x7e).contains(b));
            let parsed = RequestId::parse(&bytes);
            prop_assert_eq!(parsed.is_some(), usable);
            if let Some(id) = parsed {
                prop_assert_eq!(id.as_str().as_bytes(), &bytes[..]);
            }
        }
    }
}
