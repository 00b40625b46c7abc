//! A REST client of hyper's HTTP/1.1 connections, which makes requests of messages as a contract's routes say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{FutureExt as _, LocalBoxFuture};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sim::{HostContext, Reply, Request};
use transport::Code;
use transport::route::Route;

use super::codes::{code_named, http_status_of};
use super::headers::{add_to, id_of, metadata_of};
use super::http1::connected;
use super::words::{Unexpected, judged, within};
use crate::load::Kind;
use crate::rpc::Trouble;
use crate::setting::Setting;

/// The connections that carry no request now, by host.
type Idle = Rc<RefCell<BTreeMap<String, Vec<SendRequest<Full<Bytes>>>>>>;

/// Makes calls over REST from `host`.
pub(crate) fn connect(
    host: HostContext,
    setting: Arc<Setting>,
) -> impl Fn(Request) -> LocalBoxFuture<'static, Reply> + 'static {
    let client = Client { host, setting, idle: Idle::default() };
    move |request| {
        let client = client.clone();
        async move {
            let reply = within(request.deadline, client.call(&request)).await;
            judged(reply, client.setting.kind(&request), &request)
        }
        .boxed_local()
    }
}

#[derive(Clone)]
struct Client {
    host: HostContext,
    setting: Arc<Setting>,
    idle: Idle,
}

impl Client {
    async fn call(&self, request: &Request) -> Result<Reply, Trouble> {
        let kind =
            self.setting.kind(request).ok_or_else(|| Unexpected(format!("no call {}", request.kind)))?;
        let target = self.setting.graph.entry(kind.service, request.id).ok_or("nobody hosts it")?;
        let kept = self.idle.borrow_mut().get_mut(target).and_then(Vec::pop);
        let mut connection = connected(&self.host, target, kept).await?;
        let answer = connection.send_request(asked(kind, request, target)?).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        if connection.ready().await.is_ok() {
            self.idle.borrow_mut().entry(target.to_owned()).or_default().push(connection);
        }
        let reply = if head.status.is_success() {
            Reply::ok(kind.rpc.answer_of_json(&body, kind.routes[0].response_field)?)
        } else {
            problem(head.status, id_of(&head.headers).as_deref(), &body)?
        };
        Ok(reply.with_request_id(id_of(&head.headers)).with_metadata(metadata_of(&head.headers)))
    }
}

/// The reply that a problem document is. Its HTTP status must be the one of its code, and it must say of itself what its
/// head says.
fn problem(http: http::StatusCode, id: Option<&str>, body: &[u8]) -> Result<Reply, Trouble> {
    let problem: Value = serde_json::from_slice(body)?;
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let code = code_named(text("code")).ok_or_else(|| Unexpected(format!("HTTP {http} without a code")))?;
    let is_body_too_large = code == Code::ResourceExhausted && http == http::StatusCode::PAYLOAD_TOO_LARGE;
    if http_status_of(code) != http.as_u16() && !is_body_too_large {
        return Err(Unexpected(format!("HTTP {http} with the code {}", text("code"))).into());
    }
    if problem["status"] != http.as_u16() || problem["request_id"].as_str() != id {
        return Err(
            Unexpected(format!("a head with {http} and the id {id:?}, and the problem {problem}")).into()
        );
    }
    Ok(Reply::failed(text("code"), text("detail")))
}

/// The request that `kind`'s first route makes of a message.
fn asked(kind: &Kind, request: &Request, target: &str) -> Result<http::Request<Full<Bytes>>, Trouble> {
    let json = kind.rpc.json(&request.argument, request.request_id())?;
    let route = &kind.routes[0];
    let mut rest = if let Value::Object(fields) = json { fields } else { serde_json::Map::new() };
    let mut target_path = filled(route, &mut rest)?;
    let body = if route.body { Bytes::from(serde_json::to_vec(&rest)?) } else { Bytes::new() };
    if !route.body && !rest.is_empty() {
        target_path.push('?');
        target_path.push_str(&query(&rest)?);
    }
    let head = http::Request::builder().method(route.verb).uri(target_path);
    let head = head.header("host", target);
    let head = if route.body { head.header("content-type", "application/json") } else { head };
    let mut asked = head.body(Full::new(body))?;
    add_to(&mut asked, request)?;
    Ok(asked)
}

/// What stands for itself in a segment of a path (RFC 3986, section 3.3) and is something else in a query, is sent as it is.
const ESCAPED_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+')
    .remove(b'&')
    .remove(b'=');

/// The path with the fields that it names, which are then no longer in `message`.
fn filled(route: &Route, message: &mut serde_json::Map<String, Value>) -> Result<String, Trouble> {
    let mut path = String::new();
    for segment in route.path.split('/').skip(1) {
        path.push('/');
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(field) => {
                let value = message.remove(&json_name(field)).or_else(|| message.remove(field));
                let value = value.as_ref().map(text).transpose()?.unwrap_or_default();
                path.extend(utf8_percent_encode(&value, ESCAPED_IN_PATHS));
            }
            None => path.push_str(segment),
        }
    }
    Ok(path)
}

/// The name of a field in JSON: `orderId` for `order_id`.
fn json_name(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (letter, rest) = word.split_at(usize::from(!word.is_empty()));
        name + &letter.to_uppercase() + rest
    })
}

fn query(message: &serde_json::Map<String, Value>) -> Result<String, Trouble> {
    let mut pairs = Vec::new();
    for (name, value) in message {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            pairs.push(format!("{name}={}", utf8_percent_encode(&text(value)?, NON_ALPHANUMERIC)));
        }
    }
    Ok(pairs.join("&"))
}

/// A value as it stands in a path or a query.
fn text(value: &Value) -> Result<String, Trouble> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(Unexpected(format!("{value} has no place in a query: call this over gRPC")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_go_to_the_path_and_the_others_to_the_query() {
        let path = "/v1/orders/{order_id}/lines";
        let route = Route { verb: "GET", path, body: false, response_field: None };
        let mut message =
            json!({"orderId": "a b/c", "skus": ["x&y", "z"], "max": 3}).as_object().cloned().unwrap();
        assert_eq!(filled(&route, &mut message).unwrap(), "/v1/orders/a%20b%2Fc/lines");
        assert_eq!(query(&message).unwrap(), "max=3&skus=x%26y&skus=z");
    }

    #[test]
    fn a_code_with_the_http_status_of_another_is_refused() {
        let body = br#"{"status": 404, "code": "NOT_FOUND", "detail": "no such order", "request_id": "7"}"#;
        let said = problem(http::StatusCode::NOT_FOUND, Some("7"), body).unwrap();
        assert_eq!((said.status.as_str(), said.value.as_str()), ("NOT_FOUND", "no such order"));
        assert!(problem(http::StatusCode::CONFLICT, Some("7"), body).is_err());
        assert!(problem(http::StatusCode::NOT_FOUND, Some("8"), body).is_err(), "its id is another");
    }
}
