//! Answers of HTTP/1.1, read and judged.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::time::Instant;

use super::line::{Line, Trouble};
use crate::ids::is_legal;
use crate::strangers::Answer;

/// Waits for the next answer, which must be as expected. Whether it says that the connection ends.
pub(super) async fn hear(line: &mut Line, expected: &Answer, by: Instant) -> Result<bool, Trouble> {
    let what = format!("the answer {}", expected.status);
    let head = line.look(&what, by, take_head).await?;
    let head = Head::parse(&head).ok_or_else(|| Trouble::Wrong(format!("no answer, but {head:?}")))?;
    let length = head.judge(expected).map_err(|wrong| head.wrong(&wrong))?;
    let length = if expected.has_body { length } else { 0 };
    let take_body = |seen: &mut BytesMut| (seen.len() >= length).then(|| seen.split_to(length).freeze());
    let body = line.look("the body", by, take_body).await?;
    judge_body(&head, &body, expected).map_err(|wrong| head.wrong(&wrong))?;
    let closes = head.closes();
    match expected.closes && !closes {
        true => Err(head.wrong("the connection goes on, and is expected to end")),
        false => Ok(closes),
    }
}

/// The head of an answer.
struct Head {
    text: String,
    status: u16,
    fields: Vec<(String, String)>,
}

fn take_head(seen: &mut BytesMut) -> Option<Bytes> {
    const END: &[u8] = b"\r\n\r\n";
    // What does not begin as an answer will not become one.
    if !b"HTTP/1.".starts_with(&seen[..seen.len().min(7)]) {
        return Some(seen.split().freeze());
    }
    let end = seen.windows(END.len()).position(|window| window == END)?;
    Some(seen.split_to(end + END.len()).freeze())
}

impl Head {
    fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?.to_owned();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields = lines.map(field).collect::<Option<_>>()?;
        Some(Self { text, status, fields })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the connection ends: HTTP/1.0 has it so by itself (RFC 9112, section 9.3).
    fn closes(&self) -> bool {
        let is_old = self.text.starts_with("HTTP/1.0");
        self.field("connection") == Some("close") || is_old && self.field("connection") != Some("keep-alive")
    }

    /// How long the body is.
    fn judge(&self, expected: &Answer) -> Result<usize, String> {
        if self.status != expected.status {
            return Err(format!("the status {} is expected", expected.status));
        }
        if !self.field("x-request-id").is_some_and(is_legal) {
            return Err("it has no legal request id".to_owned());
        }
        let length = self.field("content-length").and_then(|length| length.parse().ok());
        let length = length.ok_or("it does not say how long its body is")?;
        match expected.length.filter(|expected| *expected != length) {
            Some(expected) => Err(format!("a length of {expected} is expected")),
            None => Ok(length),
        }
    }

    fn wrong(&self, what: &str) -> Trouble {
        Trouble::Wrong(format!("{what}: {:?}", self.text))
    }
}

fn judge_body(head: &Head, body: &[u8], expected: &Answer) -> Result<(), String> {
    let text = String::from_utf8_lossy(body);
    if !text.contains(expected.contains) && !head.text.contains(expected.contains) {
        return Err(format!("{:?} is expected, in {text:?}", expected.contains));
    }
    if head.status < 400 || !expected.has_body || head.field("content-type") == Some("text/plain") {
        return Ok(());
    }
    if head.field("content-type") != Some("application/problem+json") {
        return Err("a problem document is expected".to_owned());
    }
    let problem: Value = serde_json::from_slice(body).map_err(|error| format!("{error} in {text:?}"))?;
    let is_same =
        problem["status"] == head.status && problem["request_id"].as_str() == head.field("x-request-id");
    if is_same { Ok(()) } else { Err(format!("it says another status or id than {text:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_what_is_none_at_once() {
        let mut seen = BytesMut::from("HTTP/1.1 200 OK\r\nx: 1\r\n");
        assert_eq!(take_head(&mut seen), None);
        seen.extend_from_slice(b"\r\nbody");
        let head = take_head(&mut seen).and_then(|head| Head::parse(&head)).expect("it is whole");
        assert_eq!((head.status, head.field("x"), &seen[..]), (200, Some("1"), &b"body"[..]));
        assert_eq!(take_head(&mut seen).as_deref(), Some(&b"body"[..]));
    }

    #[test]
    fn a_problem_that_says_another_status_than_its_head_is_wrong() {
        let head =
            b"HTTP/1.1 404 Not Found\r\nx-request-id: 7\r\ncontent-type: application/problem+json\r\n\r\n";
        let head = Head::parse(head).expect("it is whole");
        let judge = |body: &str| judge_body(&head, body.as_bytes(), &Answer::new(404));
        assert_eq!(judge(r#"{"status": 404, "request_id": "7"}"#), Ok(()));
        assert!(judge(r#"{"status": 405, "request_id": "7"}"#).is_err());
        assert!(judge(r#"{"status": 404, "request_id": "8"}"#).is_err());
    }
}
