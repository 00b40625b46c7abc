//! The name that a caller gives to a call which must not be handled twice, as draft-ietf-httpapi-idempotency-key-header
//! (07) has it: a string of Structured Fields (RFC 9651, section 3.3.3), or, as most clients send it, the bare text.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::status::{Result, Status};

/// The header over REST, and the metadata entry over gRPC and memory.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes.
const LENGTH_MAX: usize = 255;

/// An idempotency key. Quoted or not, the same text is the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Arc<str>);

impl Key {
    /// The key that came with a call, if it has one.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there are several, or it is none.
    pub(crate) fn of(metadata: &MetadataMap) -> Result<Option<Self>> {
        let mut values = metadata.as_ref().get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = values.next().is_none().then(|| parse(value)).flatten();
        text.map(|text| Some(Self(text.into()))).ok_or_else(|| {
            Status::invalid_argument(format!(
                "the idempotency key is malformed: expected one string of 1 to {LENGTH_MAX} visible letters"
            ))
        })
    }

    /// The key that a store has kept.
    pub(crate) fn kept(text: String) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its size, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn parse(value: &HeaderValue) -> Option<String> {
    let text = match value.as_bytes() {
        [b'"', quoted @ .., b'"'] => unquoted(quoted)?,
        bare => bare.iter().map(|byte| is_bare(*byte).then_some(char::from(*byte))).collect::<Option<_>>()?,
    };
    (1..=LENGTH_MAX).contains(&text.len()).then_some(text)
}

/// What may stand outside of quotes: all that is visible, without what separates items of a list and their parameters.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';')
}

fn unquoted(quoted: &[u8]) -> Option<String> {
    let (mut text, mut bytes) = (String::with_capacity(quoted.len()), quoted.iter());
    while let Some(byte) = bytes.next() {
        let letter = match byte {
            b'\\' => bytes.next().filter(|escaped| matches!(escaped, b'"' | b'\\'))?,
            b'"' => return None,
            plain => plain,
        };
        if !letter.is_ascii_graphic() && *letter != b' ' {
            return None;
        }
        text.push(char::from(*letter));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<String>, Code> {
        let mut metadata = MetadataMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a value of a header");
            metadata.as_mut().append(IDEMPOTENCY_KEY, value);
        }
        Key::of(&metadata).map(|key| key.map(|key| key.0.to_string())).map_err(|error| error.code())
    }

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        for (sent, meant) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"a \\\"b\\\\\"", "a \"b\\"),
            ("a+/=:b", "a+/=:b"),
        ] {
            assert_eq!(key(&[sent.as_bytes()]), Ok(Some(meant.to_owned())), "{sent}");
        }
        assert_eq!(key(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_key_is_an_invalid_argument() {
        let long = "x".repeat(LENGTH_MAX + 1);
        for bad in ["", "\"\"", "a b", "a,b", "\"a\", \"b\"", "\"a\";p=1", "\"a", "a\"", "\"a\\b\"", &long] {
            assert_eq!(key(&[bad.as_bytes()]), Err(Code::InvalidArgument), "{bad}");
        }
        assert_eq!(key(&[b"a", b"a"]), Err(Code::InvalidArgument), "there are two");
        assert_eq!(key(&[b"\"\xff\""]), Err(Code::InvalidArgument));
    }

    proptest! {
        #[test]
        fn any_visible_text_can_be_sent_quoted(text in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(key(&[quoted.as_bytes()]), Ok(Some(text)));
        }
    }
}
