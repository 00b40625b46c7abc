//! Between HTTP and messages: path, query and JSON become a request, an answer becomes JSON.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};
use serde_json::value::to_raw_value;

use crate::contract::Method;
use crate::payload::{Message, MessageType};
use crate::route::Route;
use crate::status::{self, Result, Status};
use crate::with_path::{WithPath, check_object};

/// What came with a request.
pub(crate) struct Incoming<'a> {
    pub(crate) query: &'a str,
    /// The fields in the path, percent-encoded as they came.
    pub(crate) path: Vec<(&'a str, &'a str)>,
    pub(crate) body: Option<&'a [u8]>,
}

/// Between JSON and the messages of one rpc, whose types are known where this is made.
#[derive(Clone, Copy)]
pub(crate) struct Transcoder {
    decode: fn(&Incoming<'_>) -> Result<Message>,
    encode: fn(Message, Option<&str>) -> Result<Vec<u8>>,
}

impl Transcoder {
    pub(crate) fn of<M: Method>() -> Self
    where
        M::Request: MessageType + DeserializeOwned,
        M::Response: MessageType + Serialize,
    {
        Self { decode: decode::<M::Request>, encode: encode::<M::Response> }
    }

    pub(crate) fn decode(&self, incoming: &Incoming<'_>) -> Result<Message> {
        (self.decode)(incoming)
    }

    pub(crate) fn encode(&self, answer: Message, route: &Route) -> Result<Vec<u8>> {
        (self.encode)(answer, route.response_field)
    }
}

impl fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoder").finish_non_exhaustive()
    }
}

fn decode<T>(incoming: &Incoming<'_>) -> Result<Message>
where
    T: MessageType + DeserializeOwned,
{
    let message: T = match incoming.body {
        body if is_nothing::<T>() => from_nothing(body.unwrap_or(b"{}"))?,
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
    serde_html_form::from_str(&pairs).map_err(|error| invalid(format!("the query is wrong: {error}")))
}

fn from_json<T: DeserializeOwned>(body: &[u8], path: &[(&str, &str)]) -> Result<T> {
    if !path.is_empty() {
        return from_json_and_path(body, path);
    }
    serde_json::from_slice(body).map_err(|error| {
        let again = &mut serde_json::Deserializer::from_slice(body);
        let field = if error.is_data() { field_in::<T>(again) } else { String::new() };
        wrong(&field, error)
    })
}

fn from_json_and_path<T: DeserializeOwned>(body: &[u8], path: &[(&str, &str)]) -> Result<T> {
    let path = path.iter().map(|(name, value)| {
        check_encoding("path", value)?;
        let text = percent_decode_str(value).decode_utf8_lossy();
        Ok((*name, to_raw_value(&text).expect("a text has a JSON form")))
    });
    let read = path.collect::<Result<Vec<_>>>().and_then(|path| {
        let both = WithPath { body, path: &path };
        T::deserialize(both).map_err(|error| wrong(&field_in::<T>(both), without_place(&error)))
    });
    // A body that is no object is told of first, with the place. Only who has sent something wrong pays for it.
    read.map_err(|error| check_object(body).map_or_else(|whole| wrong("", whole), |()| error))
}

/// The field of a `T` that cannot be read, as `: items[2].count`; nothing where that is the body itself. Only who has sent
/// something wrong pays for it.
fn field_in<'a, T: DeserializeOwned>(body: impl Deserializer<'a>) -> String {
    match serde_path_to_error::deserialize::<_, T>(body) {
        Err(error) if error.path().iter().next().is_some() => format!(": {}", error.path()),
        Err(_) | Ok(_) => String::new(),
    }
}

/// Its place would be one in the field, not in the body.
fn without_place(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if text.ends_with(&place) {
        text.truncate(text.len() - place.len());
    }
    text
}

fn wrong(field: &str, error: impl fmt::Display) -> Status {
    invalid(format!("the body is wrong{field}: {error}"))
}

/// What is said of a wrong request may have what the client has sent, whole: it is cut.
fn invalid(text: String) -> Status {
    status::within_limits(Status::invalid_argument(text))
}

/// Whether it is `google.protobuf.Empty`, which prost has as `()`. As JSON it is an object, and serde's `()` is null.
fn is_nothing<T: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<()>()
}

/// As of other messages, fields that it does not know are passed over.
fn from_nothing<T: Default>(body: &[u8]) -> Result<T> {
    check_object(body).map(|()| T::default()).map_err(|error| wrong("", error))
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
        None if is_nothing::<T>() => Ok(b"{}".to_vec()),
        None => serde_json::to_vec(&answer),
        Some(field) => {
            serde_json::to_value(&answer).and_then(|mut answer| serde_json::to_vec(&answer[field].take()))
        }
    };
    written.map_err(|error| Status::internal(format!("the answer has no JSON form: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;
    use tonic::Code;

    use super::*;

    /// What a client may send as a part of its target: anything, and what comes close to being right.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "([a-c=&+%\\[\\]]|%[0-9a-f]{2}|\\PC){0,30}"]
    }

    fn json() -> impl Strategy<Value = Vec<u8>> {
        let close =
            "\\{?(\"[a-c]{1,4}\":([0-9.e-]{1,25}|\"\\PC{0,5}\"|\\[\\{?|null|\\\\u[0-9a-f]{0,4}),?){0,4}\\}?";
        prop_oneof![prop::collection::vec(any::<u8>(), 0..60), close.prop_map(String::into_bytes)]
    }

    #[test]
    fn who_sends_a_wrong_body_is_told_which_field_is_wrong() {
        type Order = BTreeMap<String, Vec<BTreeMap<String, u32>>>;
        let wrong = |body: &str, path: &[_]| match from_json::<Order>(body.as_bytes(), path) {
            Ok(order) => panic!("{body} was read as {order:?}"),
            Err(error) => error.message().to_owned(),
        };
        let items = r#"{"items":[{"count":1},{"count":-1}]}"#;
        let expected = "the body is wrong: items[1].count: invalid value: integer `-1`, expected u32";
        assert!(wrong(items, &[]).starts_with(expected), "{}", wrong(items, &[]));
        assert!(wrong("{}", &[("items", "x")]).starts_with("the body is wrong: items: "));
        assert!(wrong("{", &[]).starts_with("the body is wrong: EOF "), "{}", wrong("{", &[]));
        let long = "x".repeat(100_000);
        assert_eq!(wrong(&format!(r#"{{"items":[{{"count":"{long}"}}]}}"#), &[]).len(), 2048);
        assert_eq!(wrong(&format!(r#"{{"{long}":[1]}}"#), &[]).len(), 2048);
    }

    #[test]
    fn a_field_in_the_path_takes_the_place_of_one_in_the_body_and_the_last_of_a_name_that_of_others() {
        let read = |body: &str| {
            from_json::<BTreeMap<String, String>>(body.as_bytes(), &[("name", "of%20path")])
                .map(|fields| {
                    fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
                })
                .map_err(|error| error.message().to_owned())
        };
        let body = r#"{"other":1,"name":[{}],"n\u0061me":null,"other":"x"}"#;
        assert_eq!(read(body), Ok(vec!["name=of path".to_owned(), "other=x".to_owned()]));
        for (body, error) in [
            (r#"{"other":1}"#, "other: invalid type: integer `1`, expected a string"),
            ("[]", "invalid type: sequence, expected a map at line 1 column 0"),
            ("null", "invalid type: null, expected a map at line 1 column 4"),
            ("", "EOF while parsing a value at line 1 column 0"),
            (r#"{"other":1"#, "EOF while parsing an object at line 1 column 10"),
            (r#"{"other":1}x"#, "trailing characters at line 1 column 12"),
        ] {
            assert_eq!(read(body), Err(format!("the body is wrong: {error}")));
        }
    }

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
        fn a_query_whatever_is_in_it_is_read_or_refused(query in part(), path in part()) {
            let incoming = Incoming { query: &query, path: vec![("name", &path)], body: None };
            match from_query::<BTreeMap<String, String>>(&incoming) {
                Ok(fields) => prop_assert!(fields.contains_key("name")),
                Err(error) => prop_assert_eq!(error.code(), Code::InvalidArgument),
            }
        }

        #[test]
        fn a_body_whatever_is_in_it_is_read_or_refused(body in json(), path in part()) {
            match from_json::<BTreeMap<String, Value>>(&body, &[("name", &path)]) {
                Ok(fields) => prop_assert!(fields.contains_key("name")),
                Err(error) => prop_assert_eq!(error.code(), Code::InvalidArgument),
            }
        }

        #[test]
        fn what_a_client_encodes_is_accepted(text in any::<String>()) {
            let query = format!("name={}", utf8_percent_encode(&text, NON_ALPHANUMERIC));
            prop_assert!(check_encoding("query", &query).is_ok());
        }
    }
}
