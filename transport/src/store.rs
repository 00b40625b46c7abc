//! The seam between the memory of idempotency keys and what keeps it beyond the end of the process.
//!
//! Notes are protobuf messages, so that a later version may add to them. This file knows no disk and no clock.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::outcome::{Answer, Outcome};
use crate::status::{Code, Status};

/// Keeps notes of calls with idempotency keys beyond the end of the process.
///
/// The memory of keys asks in this order, for each key:
///
/// 1. [`What::Begun`] before the handler begins, which waits until it is kept. So no handler has begun of which a later
///    process does not know.
/// 2. [`What::Ended`] when the handler has ended; the caller is told the answer when it is kept. So no later process has
///    another answer, or none, for who was told one.
/// 3. In place of the second, [`What::Forgotten`] where it is proven that no handler has begun. Nobody waits for that.
///
/// A key counts until the first is kept, and until the second is, so that no more requests and answers are asked for at once
/// than may be remembered.
///
/// A key that has begun and has not ended may have been handled, in part or as a whole; a later process recalls it as such.
pub trait KeyStore: Send + Sync {
    /// Keeps `note`, after all that were given to it before, whether or not what it returns is waited for. That resolves
    /// when neither a kill nor a power loss takes the note away.
    ///
    /// # Errors
    ///
    /// If it cannot be kept; it may be there all the same then.
    fn keep(&self, note: Note) -> BoxFuture<'static, io::Result<()>>;
}

/// What has become of a key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    /// The service that was called: a key belongs to one.
    #[prost(string, tag = "1")]
    pub service: String,
    /// The key, without quotes.
    #[prost(string, tag = "2")]
    pub key: String,
    /// None where a later version has something to say.
    #[prost(oneof = "What", tags = "3, 4, 5, 6")]
    pub what: Option<What>,
}

/// What has become of it.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// It is about to be handled.
    #[prost(message, tag = "3")]
    Begun(Begun),
    /// Its handler has ended.
    #[prost(message, tag = "4")]
    Ended(Ended),
    /// Nobody has handled it.
    #[prost(message, tag = "5")]
    Forgotten(Forgotten),
    /// It had begun when the process ended that was to handle it.
    #[prost(message, tag = "6")]
    Unknown(Unknown),
}

/// A call that is about to be handled.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Begun {
    /// The rpc.
    #[prost(string, tag = "1")]
    pub path: String,
    /// What was asked for, encoded.
    #[prost(bytes = "bytes", tag = "2")]
    pub request: Bytes,
}

/// What a handler came to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ended {
    /// When it is forgotten, in milliseconds since 1970: the store's to say, which has a clock that outlives the process.
    #[prost(uint64, tag = "1")]
    pub until: u64,
    #[prost(int32, tag = "2")]
    code: i32,
    #[prost(string, tag = "3")]
    text: String,
    #[prost(bytes = "bytes", tag = "4")]
    details: Bytes,
    /// The answer, encoded.
    #[prost(bytes = "bytes", tag = "5")]
    message: Bytes,
    #[prost(message, repeated, tag = "6")]
    metadata: Vec<Entry>,
}

/// Nobody has handled it.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Forgotten {}

/// Nobody knows whether it was handled.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Unknown {
    /// When that is forgotten, in milliseconds since 1970.
    #[prost(uint64, tag = "1")]
    pub until: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// What a store has kept of a key that an earlier process was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The service that was called.
    pub service: String,
    /// The key.
    pub key: String,
    /// The call.
    pub begun: Begun,
    /// What it came to; nobody knows if there is nothing.
    pub ended: Option<Ended>,
    /// How much longer it is remembered.
    pub left: Duration,
}

impl Ended {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(Answer { metadata, message }) => {
                Self { message: message.clone(), metadata: entries(metadata), ..Self::default() }
            }
            Err(status) => Self {
                code: status.code().into(),
                text: status.message().to_owned(),
                details: Bytes::copy_from_slice(status.details()),
                metadata: entries(status.metadata()),
                ..Self::default()
            },
        }
    }

    /// What was kept, as copies: a store may have read all of its keys at once.
    pub(crate) fn into_outcome(self) -> Outcome {
        let metadata = metadata(&self.metadata);
        match Code::from(self.code) {
            Code::Ok => Ok(Answer { metadata, message: Bytes::copy_from_slice(&self.message) }),
            code => {
                let details = Bytes::copy_from_slice(&self.details);
                Err(Status::with_details_and_metadata(code, self.text, details, metadata))
            }
        }
    }
}

fn entries(metadata: &MetadataMap) -> Vec<Entry> {
    let entry = |(name, value): (&HeaderName, &HeaderValue)| Entry {
        name: name.to_string(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    metadata.as_ref().iter().map(entry).collect()
}

/// What is no metadata was not written by this program, and is left out.
fn metadata(entries: &[Entry]) -> MetadataMap {
    let header = |Entry { name, value }: &Entry| {
        name.parse::<HeaderName>().ok().zip(HeaderValue::from_bytes(value).ok())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in entries.iter().filter_map(header) {
        headers.append(name, value);
    }
    MetadataMap::from_headers(headers)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn metadata() -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.append("a", "1".parse().expect("a value"));
        metadata.append("a", "2".parse().expect("a value"));
        metadata.append_bin("b-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
        metadata
    }

    fn kept(outcome: &Outcome) -> Outcome {
        let bytes = Ended::of(outcome).encode_to_vec();
        Ended::decode(&*bytes).expect("it was written here").into_outcome()
    }

    #[test]
    fn an_answer_is_kept_with_its_metadata() {
        let answer = Answer { metadata: metadata(), message: Bytes::from_static(b"message") };
        let again = kept(&Ok(answer.clone())).expect("an answer");
        assert_eq!(again.message, answer.message);
        assert_eq!(again.metadata.as_ref(), answer.metadata.as_ref());
    }

    #[test]
    fn a_failure_is_kept_with_its_details_and_metadata() {
        let details = Bytes::from_static(b"details");
        let status = Status::with_details_and_metadata(Code::FailedPrecondition, "no", details, metadata());
        let again = kept(&Err(status.clone())).expect_err("a failure");
        assert_eq!(
            (again.code(), again.message(), again.details()),
            (status.code(), status.message(), status.details())
        );
        assert_eq!(again.metadata().as_ref(), status.metadata().as_ref());
    }
}
