//! Between HTTP and messages: path, query and JSON become a request, an answer becomes JSON.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::contract::MessageType;
use crate::payload::Message;
use crate::{Method, Result, Status};

/// One way to reach an rpc over REST.
#[derive(Clone)]
pub struct Route {
    /// The HTTP method, in capitals.
    pub verb: &'static str,
    /// The path; a segment `{field}` is a field of the request.
    pub path: &'static str,
    /// Whether the body of the request is the message, as JSON.
    pub body: bool,
    /// The rpc: `/package.Service/Method`.
    pub rpc: &'static str,
    /// The one field that is the answer, by its JSON name; all of them if none.
    response_field: Option<&'static str>,
    decode: fn(&Incoming<'_>) -> Result<Message>,
    encode: fn(Message, Option<&str>) -> Result<Vec<u8>>,
}

/// What came with a request.
pub(super) struct Incoming<'a> {
    pub(super) query: &'a str,
    /// The fields in the path, percent-encoded as they came.
    pub(super) path: Vec<(&'a str, &'a str)>,
    pub(super) body: Option<&'a [u8]>,
}

impl Route {
    /// The route to the rpc `M`; written by the generator.
    #[must_use]
    pub fn new<M: Method>(
        verb: &'static str,
        path: &'static str,
        body: bool,
        response_field: Option<&'static str>,
    ) -> Self
    where
        M::Request: MessageType + DeserializeOwned,
        M::Response: MessageType + Serialize,
    {
        let (decode, encode) = (decode::<M::Request>, encode::<M::Response>);
        Self { verb, path, body, rpc: M::PATH, response_field, decode, encode }
    }

    pub(super) fn decode(&self, incoming: &Incoming<'_>) -> Result<Message> {
        (self.decode)(incoming)
    }

    pub(super) fn encode(&self, answer: Message) -> Result<Vec<u8>> {
        (self.encode)(answer, self.response_field)
    }

    /// The names of the fields in the path.
    pub(super) fn path_fields(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.verb, self.path, self.rpc)
    }
}

fn decode<T>(incoming: &Incoming<'_>) -> Result<Message>
where
    T: MessageType + DeserializeOwned,
{
    let message: T = match incoming.body {
        Some(body) => from_json(body, &incoming.path)?,
        None => from_query(incoming)?,
    };
    Ok(Message::of(message))
}

fn from_query<T: DeserializeOwned>(incoming: &Incoming<'_>) -> Result<T> {
    check_encoding("query", incoming.query)?;
    let mut pairs = Cow::Borrowed(incoming.query);
    for (name, value) in &incoming.path {
        check_encoding("path", value)?;
        let value = percent_decode_str(value).decode_utf8_lossy();
        let value = utf8_percent_encode(&value, NON_ALPHANUMERIC);
        let pairs = pairs.to_mut();
        if !pairs.is_empty() {
            pairs.push('&');
        }
        pairs.push_str(&format!("{name}={value}"));
    }
    serde_html_form::from_str(&pairs)
        .map_err(|error| Status::invalid_argument(format!("the query is wrong: {error}")))
}

fn from_json<T: DeserializeOwned>(body: &[u8], path: &[(&str, &str)]) -> Result<T> {
    let wrong = |error| Status::invalid_argument(format!("the body is wrong: {error}"));
    if path.is_empty() {
        return serde_json::from_slice(body).map_err(wrong);
    }
    let mut object: serde_json::Map<String, Value> = serde_json::from_slice(body).map_err(wrong)?;
    for (name, value) in path {
        check_encoding("path", value)?;
        let value = percent_decode_str(value).decode_utf8_lossy();
        object.insert((*name).to_owned(), Value::String(value.into_owned()));
    }
    serde_json::from_value(Value::Object(object)).map_err(wrong)
}

/// Form decoding would replace what it cannot read; a client that sends it should rather be told.
fn check_encoding(part: &str, text: &str) -> Result<()> {
    if !text.contains('%') {
        return Ok(());
    }
    let escapes = text.split('%').skip(1);
    let whole = escapes
        .map(|rest| rest.as_bytes())
        .all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit));
    if whole && percent_decode_str(text).decode_utf8().is_ok() {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("the {part} is not percent-encoded UTF-8")))
}

fn encode<T>(answer: Message, field: Option<&str>) -> Result<Vec<u8>>
where
    T: MessageType + Serialize,
{
    let answer = answer.open::<T>(usize::MAX)?;
    let written = match field {
        None => serde_json::to_vec(&answer),
        Some(field) => {
            serde_json::to_value(&answer).and_then(|mut answer| serde_json::to_vec(&answer[field].take()))
        }
    };
    written.map_err(|error| Status::internal(format!("the answer has no JSON form: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_broken_escape_is_refused() {
        for bad in ["name=%", "name=%f", "name=%zz", "name=%ff", "a=%20&b=%C3%28"] {
            assert!(check_encoding("query", bad).is_err(), "{bad}");
        }
        for good in ["", "name=plain", "name=%20", "name=%C3%A9", "name=a+b"] {
            assert!(check_encoding("query", good).is_ok(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_accepted(text in any::<String>()) {
            let query = format!("name={}", utf8_percent_encode(&text, NON_ALPHANUMERIC));
            prop_assert!(check_encoding("query", &query).is_ok());
        }
    }
}
