//! Errors over HTTP: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::access::{AccessLine, Outcome};
use crate::context::CallContext;
use crate::net::CallerAddress;
use crate::request_id::RequestId;
use crate::status;

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
}

/// The answer to a call that failed. What went wrong inside stays inside, and so does what a callee says of its
/// own connections: it may be anybody's service, behind anybody's proxy.
pub(crate) fn of_status(error: &Status, id: &RequestId) -> HttpResponse {
    let detail = match (error.code(), status::speaker(error)) {
        (Code::Unknown | Code::Internal | Code::DataLoss, _) => "an internal error; see the log".into(),
        (_, Some(service)) => Cow::Owned(format!("{service} is unavailable")),
        _ => error.message().into(),
    };
    let http = status::http_status(error.code()).as_u16();
    of_http(http, error.code(), &detail, id)
}

/// The answer to a request that did not become a call.
pub(crate) fn of_http(http: u16, code: Code, detail: &str, id: &RequestId) -> HttpResponse {
    let (_, body) = render(http, code, detail, id);
    let http = StatusCode::from_u16(http).expect("this crate makes valid statuses only");
    HttpResponse::build(http).content_type("application/problem+json").body(body)
}

/// The whole HTTP/1.1 answer to what never became a request, after which the connection ends. It has its own
/// access line, and an id that joins them.
pub(crate) fn to_no_request(http: u16, code: Code, detail: &str, caller: CallerAddress) -> Bytes {
    let id = RequestId::fresh();
    let context = CallContext::new(id.clone(), None, None, caller, MetadataMap::new());
    let (title, body) = render(http, code, detail, &id);
    let mut line = AccessLine::new(context, "-", "-".into(), Outcome::Http(http));
    line.bytes = body.len() as u64;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {http} {title}\r\ncontent-type: application/problem+json\r\n\
         content-length: {length}\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n"
    );
    [head.into_bytes(), body].concat().into()
}

/// The reason phrase of the status, and the problem as JSON.
fn render(http: u16, code: Code, detail: &str, id: &RequestId) -> (&'static str, Vec<u8>) {
    let reason = StatusCode::from_u16(http).ok().and_then(|http| http.canonical_reason());
    let title = reason.unwrap_or("Client Closed Request");
    let body = Body {
        r#type: "about:blank",
        title,
        status: http,
        detail,
        code: status::code_name(code),
        request_id: id.as_str(),
    };
    (title, serde_json::to_vec(&body).expect("strings and a number have a JSON form"))
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn a_problem_says_what_the_status_says_and_hides_what_went_wrong_inside(
            number in 1..17, message in ".{0,80}", id in "[!-~]{1,128}"
        ) {
            let code = Code::from_i32(number);
            let http = status::http_status(code).as_u16();
            let id = RequestId::parse(id.as_bytes()).expect("visible ASCII is an id");
            let answer = of_status(&Status::new(code, message.clone()), &id);
            prop_assert_eq!(answer.status().as_u16(), http);
            let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
            prop_assert_eq!(kind, Some("application/problem+json"));
            let body = answer.into_body().try_into_bytes().expect("the body is in memory");
            let problem: Value = serde_json::from_slice(&body).expect("a problem is JSON");
            let detail = if http == 500 { "an internal error; see the log" } else { &message };
            prop_assert_eq!(&problem["status"], &json!(http));
            prop_assert_eq!(&problem["code"], &json!(status::code_name(code)));
            prop_assert_eq!(&problem["detail"], &json!(detail));
            prop_assert_eq!(&problem["request_id"], &json!(id.as_str()));
        }
    }
}
