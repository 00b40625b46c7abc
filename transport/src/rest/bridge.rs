//! Between hyper, which reads requests and writes answers, and the actix-web application, which makes the one of the
//! other. Each has an `http` crate of its own.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::Payload;
use actix_http::error::PayloadError;
use actix_service::Service;
use actix_web::body::{BodySize, BoxBody, MessageBody as _};
use actix_web::dev::ServiceResponse;
use actix_web::{HttpResponse, http as actix};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::LocalBoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, request};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::headers::name_in_both;
use super::host::is_host;
use super::wire::{InFlight, Wire};

/// The application, as it answers requests.
pub(super) type App = Rc<
    dyn Service<
            actix_http::Request,
            Response = ServiceResponse,
            Error = actix_web::Error,
            Future = LocalBoxFuture<'static, Result<ServiceResponse, actix_web::Error>>,
        >,
>;

/// The headers of requests that the application reads, by their names in both crates. No others are handed on, since
/// each would be copied.
pub(super) struct Known(Vec<(actix::header::HeaderName, HeaderName)>);

impl Known {
    /// What this edge reads itself, and `others`.
    pub(super) fn new(others: &[String]) -> Self {
        let own =
            ["x-request-id", CONTENT_TYPE.as_str(), CONTENT_LENGTH.as_str(), TRANSFER_ENCODING.as_str()];
        Self(own.into_iter().chain(others.iter().map(String::as_str)).filter_map(name_in_both).collect())
    }
}

/// One connection's way to the application.
pub(super) struct Bridge {
    pub(super) app: App,
    pub(super) known: Rc<Known>,
    pub(super) caller: Option<SocketAddr>,
    pub(super) wire: Wire,
}

/// There will be no answer, and the connection ends.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The client hung up.
    HungUp,
    /// What it sent is no request.
    NoRequest,
}

impl hyper::service::Service<http::Request<Incoming>> for Bridge {
    type Response = http::Response<Answer>;
    type Error = NoAnswer;
    type Future = Answering;

    fn call(&self, request: http::Request<Incoming>) -> Answering {
        let (mut parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let Some(mut request) = self.request(&parts) else {
            self.wire.refuse(400);
            return Answering {
                app: None,
                headers: HeaderMap::new(),
                wire: self.wire.clone(),
                in_flight: None,
            };
        };
        // What was read goes with them; the application has copies of what it knows.
        parts.headers.clear();
        let in_flight = Some(self.wire.begin(has_body));
        if has_body {
            let body = RequestBody { body, has_ended: false, wire: self.wire.clone() };
            *request.payload() = Payload::Stream { payload: Box::pin(body) };
        }
        let app = Some(self.app.call(request));
        Answering { app, headers: parts.headers, wire: self.wire.clone(), in_flight }
    }
}

impl Bridge {
    /// The head of the request for the application, if that is what it is.
    fn request(&self, parts: &request::Parts) -> Option<actix_http::Request> {
        let mut hosts = parts.headers.get_all(HOST).iter();
        match (parts.version, hosts.next(), hosts.next()) {
            (_, Some(host), None) if is_host(host.as_bytes()) => {}
            (Version::HTTP_10, None, None) => {}
            // RFC 9112, section 3.2.
            _ => return None,
        }
        let mut request = actix_http::Request::new();
        let head = request.head_mut();
        head.method = actix::Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
        // Whom an absolute form names is no matter here.
        let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
        head.uri = actix::Uri::from_maybe_shared(Bytes::copy_from_slice(uri.as_bytes())).ok()?;
        head.peer_addr = self.caller;
        for (name, value) in &parts.headers {
            if let Some((name, _)) = self.known.0.iter().find(|(_, known)| known == name) {
                let value = actix::header::HeaderValue::from_bytes(value.as_bytes()).ok()?;
                head.headers.append(name.clone(), value);
            }
        }
        Some(request)
    }
}

/// The body of a request, for the application.
struct RequestBody {
    body: Incoming,
    has_ended: bool,
    wire: Wire,
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Nobody asks for trailers.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
                None => {
                    self.has_ended = true;
                    self.wire.end_body();
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.has_ended {
            self.wire.leave_body();
        }
    }
}

/// A request that is being answered. Dropped, it is cancelled.
pub(super) struct Answering {
    app: Option<LocalBoxFuture<'static, Result<ServiceResponse, actix_web::Error>>>,
    /// Where those of the request were, to be used again.
    headers: HeaderMap,
    wire: Wire,
    in_flight: Option<InFlight>,
}

impl Future for Answering {
    type Output = Result<http::Response<Answer>, NoAnswer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(app) = &mut self.app else { return Poll::Ready(Err(NoAnswer::NoRequest)) };
        let Poll::Ready(answer) = app.as_mut().poll(cx) else {
            return self.wire.poll_hung_up(cx).map(|()| Err(NoAnswer::HungUp));
        };
        self.app = None;
        let answer = answer.map_or_else(|error| error.error_response(), |answer| answer.into_parts().1);
        let (headers, in_flight) = (std::mem::take(&mut self.headers), self.in_flight.take());
        let mut response = response(answer, headers, in_flight);
        if self.wire.is_last() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// What the application answered, for hyper. `headers` are empty, and used again.
fn response(
    answer: HttpResponse,
    mut headers: HeaderMap,
    in_flight: Option<InFlight>,
) -> http::Response<Answer> {
    let (head, body) = answer.into_parts();
    write_headers(head.headers(), &mut headers);
    let body = body.try_into_bytes().map_or_else(Body::Pieces, Body::Whole);
    let mut response = http::Response::new(Answer { body, _in_flight: in_flight });
    let status = StatusCode::from_u16(head.status().as_u16());
    *response.status_mut() = status.expect("both crates know the same statuses");
    *response.headers_mut() = headers;
    response
}

/// In the order of their names: actix' own map has an order that follows from addresses.
fn write_headers(from: &actix::header::HeaderMap, to: &mut HeaderMap) {
    let mut names: Vec<_> = from.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    for name in names {
        let Some(key) = header_name(name) else { continue };
        for value in from.get_all(name) {
            if let Some(value) = header_value(value.as_bytes()) {
                to.append(key.clone(), value);
            }
        }
    }
}

/// None for those with which hyper says how the message is framed.
fn header_name(name: &actix::header::HeaderName) -> Option<HeaderName> {
    match name.as_str() {
        "connection" | "content-length" | "transfer-encoding" => None,
        "content-type" => Some(CONTENT_TYPE),
        "x-request-id" => Some(HeaderName::from_static("x-request-id")),
        name => HeaderName::from_bytes(name.as_bytes()).ok(),
    }
}

fn header_value(value: &[u8]) -> Option<HeaderValue> {
    const FREQUENT: [&str; 2] = ["application/json", "application/problem+json"];
    match FREQUENT.into_iter().find(|frequent| frequent.as_bytes() == value) {
        Some(frequent) => Some(HeaderValue::from_static(frequent)),
        None => HeaderValue::from_bytes(value).ok(),
    }
}

/// The body of an answer, for hyper. The request is in flight until hyper drops it.
pub(super) struct Answer {
    body: Body,
    _in_flight: Option<InFlight>,
}

enum Body {
    Whole(Bytes),
    Pieces(BoxBody),
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = match &mut self.body {
            Body::Whole(bytes) if bytes.is_empty() => None,
            Body::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Body::Pieces(body) => ready!(Pin::new(body).poll_next(cx)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(|error| error.to_string().into())))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Pieces(body) => match body.size() {
                BodySize::Sized(bytes) => SizeHint::with_exact(bytes),
                BodySize::None | BodySize::Stream => SizeHint::default(),
            },
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HungUp => "the client hung up",
            Self::NoRequest => "this is no request",
        })
    }
}

impl Error for NoAnswer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_in_the_order_of_their_names_and_framing_is_left_to_hyper() {
        let mut from = actix::header::HeaderMap::new();
        for (name, value) in
            [("x-b", "2"), ("content-length", "7"), ("x-a", "1"), ("connection", "close"), ("x-b", "1")]
        {
            from.append(name.parse().unwrap(), value.parse().unwrap());
        }
        let mut to = HeaderMap::new();
        write_headers(&from, &mut to);
        let lines: Vec<_> = to.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(lines, [("x-a", &b"1"[..]), ("x-b", b"2"), ("x-b", b"1")]);
    }
}
