//! A call that has come to a host which is no node: it is answered, refused, or left waiting.

use std::future::poll_fn;
use std::iter;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue};
use node::tracing::info;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message as _;
use tokio::time::{Instant, timeout, timeout_at};
use transport::Code;
use transport::health::{HealthCheckResponse, ServingStatus};

use super::serves::{Failed, Illness, Serves, Way};
use crate::facts::{HandlerBegun, HandlerEnded, PushedBack, ServingTold, StreamSeen};
use crate::framing::{PREFIX_BYTES, framed};
use crate::rpc::Trouble;

/// What is percent-encoded in a `grpc-message`, besides all that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

fn head() -> http::Response<()> {
    let mut head = http::Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    head
}

fn status(code: Code, message: &str) -> Result<HeaderMap, Trouble> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    if !message.is_empty() {
        let message = utf8_percent_encode(message, ENCODED).to_string();
        trailers.insert("grpc-message", HeaderValue::from_str(&message)?);
    }
    Ok(trailers)
}

/// A call that has come in.
pub(super) struct Call {
    pub(super) began: Instant,
    pub(super) head: http::request::Parts,
    pub(super) respond: SendResponse<Bytes>,
}

impl Call {
    pub(super) fn refuse(mut self) {
        self.tell_seen(true);
        self.respond.send_reset(Reason::REFUSED_STREAM);
    }

    fn tell_seen(&self, refused: bool) {
        let path = self.head.uri.path().to_owned();
        let previous = self.head.headers.get("grpc-previous-rpc-attempts").map(HeaderValue::to_str);
        // What is no number is more than any call may say.
        let previous =
            previous.map_or(0, |said| said.ok().and_then(|said| said.parse().ok()).unwrap_or(u32::MAX));
        sim::tell(StreamSeen { path, refused, previous }, self.id());
    }

    /// Says nothing, until its caller has left.
    pub(super) async fn wait_for_its_end(mut self) -> Result<(), Trouble> {
        poll_fn(|cx| self.respond.poll_reset(cx)).await?;
        Ok(())
    }

    /// Tells whether its server serves, and again when it stops, by `word`, and when it begins to. Who has no word for that, or is terse and has
    /// said one, says no more.
    pub(super) async fn tell_serving(
        mut self,
        rests: [Instant; 2],
        word: Option<ServingStatus>,
        is_terse: bool,
    ) -> Result<(), Trouble> {
        let mut body = self.respond.send_response(head(), false)?;
        let changes = rests.into_iter().filter(|change| *change > self.began);
        for at in iter::once(self.began).chain(changes) {
            let gone = poll_fn(|cx| body.poll_reset(cx));
            if timeout_at(at, gone).await.is_ok() {
                return Ok(());
            }
            let serves = at < rests[0] || at >= rests[1];
            sim::tell(ServingTold { serves }, None);
            let Some(status) = (if serves { Some(ServingStatus::Serving) } else { word }) else {
                return Ok(body.send_trailers(self::status(Code::Unavailable, "it rests")?)?);
            };
            let word = HealthCheckResponse { status: status.into() };
            body.send_data(framed(&word.encode_to_vec())?, false)?;
            if is_terse {
                return Ok(body.send_trailers(self::status(Code::Unavailable, "that is all")?)?);
            }
        }
        poll_fn(|cx| body.poll_reset(cx)).await?;
        Ok(())
    }

    pub(super) async fn answer(
        mut self,
        server: &Serves,
        started: Instant,
        mut body: RecvStream,
    ) -> Result<(), Trouble> {
        self.tell_seen(false);
        let mut message = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            message.extend_from_slice(&data);
        }
        let rpc = server.rpc(self.head.uri.path());
        let said = match rpc {
            Some((path, answer)) => {
                let (service, worker, is_local) = (server.service, 0, false);
                let (is_streaming, left) = (false, self.left());
                let is_repeated = self.head.headers.contains_key("x-caller-repeats");
                let begun = HandlerBegun {
                    service,
                    path,
                    worker,
                    is_streaming,
                    left,
                    is_local,
                    is_repeated,
                    added: None,
                };
                sim::tell(begun, self.id());
                let place = server.place();
                let suffers = async {
                    match place {
                        Some(_) => self.suffers(server, started).await,
                        None => Some(Failed::new(Code::ResourceExhausted, "no room")),
                    }
                };
                let said = match suffers.await {
                    Some(failed) => Err(failed),
                    None => answer(message.get(PREFIX_BYTES..).unwrap_or_default()),
                };
                drop(place);
                sim::tell(HandlerEnded { service, path, worker, is_streaming }, self.id());
                if let Err(Failed { pushback: Some(pushback), .. }) = &said {
                    let wait = pushback.parse().ok().map(Duration::from_millis);
                    sim::tell(PushedBack { path, wait }, self.id());
                }
                said
            }
            None => Err(Failed::new(Code::Unimplemented, "no such rpc")),
        };
        self.log();
        self.respond(said)
    }

    /// Takes what time a call takes, and tells what is said in place of an answer where the server is ill.
    async fn suffers(&mut self, server: &Serves, started: Instant) -> Option<Failed> {
        let after = started.elapsed();
        match &server.illness {
            Some(Illness { fails, said, .. }) if fails.contains(&after) => return Some(said.clone()),
            Some(Illness { fails, well_again, .. }) if (fails.end..*well_again).contains(&after) => {
                let well_again = started + *well_again;
                let due = self.left().map_or(well_again, |left| Instant::now() + left);
                let gone = poll_fn(|cx| self.respond.poll_reset(cx));
                // What is said after its deadline nobody hears.
                timeout_at(well_again.min(due), gone).await.ok();
            }
            _ => {
                let gone = poll_fn(|cx| self.respond.poll_reset(cx));
                // Nobody waits for the answer any more when its caller has left.
                timeout(server.takes, gone).await.ok();
            }
        }
        None
    }

    /// The access line, as a node has it.
    fn log(&self) {
        let request_id = self.id().unwrap_or_default();
        let path = self.head.uri.path();
        let duration_ms = self.began.elapsed().as_micros() as f64 / 1000.0;
        info!(target: "access", request_id, path, duration_ms, "call");
    }

    fn respond(&mut self, said: Result<Bytes, Failed>) -> Result<(), Trouble> {
        let mut head = head();
        if let Some(id) = self.head.headers.get("x-request-id") {
            head.headers_mut().insert("x-request-id", id.clone());
        }
        let (message, trailers) = match said {
            Ok(message) => (Some(message), status(Code::Ok, "")?),
            Err(Failed { way: Way::Reset(reason), .. }) => {
                self.respond.send_reset(Reason::from(reason));
                return Ok(());
            }
            Err(failed) => {
                let mut trailers = status(failed.code, &failed.message)?;
                if !failed.details.is_empty() {
                    trailers.insert("grpc-status-details-bin", HeaderValue::from_str(&failed.details)?);
                }
                if let Some(pushback) = failed.pushback {
                    trailers.insert("grpc-retry-pushback-ms", HeaderValue::from_static(pushback));
                }
                // An empty message of protobuf is one of any type.
                ((failed.way == Way::AfterAnswer).then(Bytes::new), trailers)
            }
        };
        match message {
            Some(message) => {
                let mut body = self.respond.send_response(head, false)?;
                body.send_data(framed(&message)?, false)?;
                body.send_trailers(trailers)?;
            }
            None => {
                head.headers_mut().extend(trailers);
                self.respond.send_response(head, true)?;
            }
        }
        Ok(())
    }

    fn id(&self) -> Option<&str> {
        self.head.headers.get("x-request-id")?.to_str().ok()
    }

    /// What is left of the call's deadline, by its `grpc-timeout` and the time since it came in.
    fn left(&self) -> Option<Duration> {
        let timeout = self.head.headers.get("grpc-timeout")?.to_str().ok()?;
        Some(duration_of(timeout)?.saturating_sub(self.began.elapsed()))
    }
}

/// Reads a `grpc-timeout`: a number, and the letter of its unit.
fn duration_of(timeout: &str) -> Option<Duration> {
    let (number, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_in_its_unit() {
        assert_eq!(duration_of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(duration_of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(["", "S", "3", "3x"].map(duration_of), [None; 4]);
    }
}
