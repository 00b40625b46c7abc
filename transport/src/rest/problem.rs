//! Errors over HTTP: `application/problem+json` (RFC 9457).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use tonic::{Code, Status};

use crate::{RequestId, status};

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
}

/// The answer to a call that failed. What went wrong inside stays inside.
pub(super) fn of_status(error: &Status, id: &RequestId) -> HttpResponse {
    let detail = match error.code() {
        Code::Unknown | Code::Internal | Code::DataLoss => "an internal error; see the log",
        _ => error.message(),
    };
    let http = status::http_status(error.code()).as_u16();
    of_http(http, error.code(), detail, id)
}

/// The answer to a request that did not become a call.
pub(super) fn of_http(http: u16, code: Code, detail: &str, id: &RequestId) -> HttpResponse {
    let (_, body) = render(http, code, detail, id);
    let http = StatusCode::from_u16(http).expect("this crate makes valid statuses only");
    HttpResponse::build(http).content_type("application/problem+json").body(body)
}

/// The reason phrase of the status, and the problem as JSON.
pub(super) fn render(http: u16, code: Code, detail: &str, id: &RequestId) -> (&'static str, Vec<u8>) {
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
