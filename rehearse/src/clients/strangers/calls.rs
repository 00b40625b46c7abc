//! The odd calls of a stranger, over HTTP/2 of `h2`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::HeaderMap;
use tokio::time::{Instant, sleep, timeout};
use transport::{Code, Io};

use super::line::Trouble;
use super::pace::{Pace, SOON};
use crate::clients::codes::name_of;
use crate::framing::{PREFIX_BYTES, framed};
use crate::strangers::Call;

pub(super) struct Caller {
    connection: SendRequest<Bytes>,
    pace: Pace,
}

impl Caller {
    pub(super) async fn new(io: Io, pace: Pace) -> Result<Self, Trouble> {
        let (connection, driver) = h2::client::handshake(io).await.map_err(cut_off)?;
        // Why a connection ended is told to each call that was on it.
        tokio::task::spawn_local(async move { driver.await.is_ok() });
        Ok(Self { connection, pace })
    }

    pub(super) async fn call(&mut self, call: &Call) -> Result<(), Trouble> {
        let from = Instant::now();
        let (response, mut body) = self
            .connection
            .clone()
            .ready()
            .await
            .map_err(cut_off)?
            .send_request(head(call)?, false)
            .map_err(cut_off)?;
        let message = framed(&call.message).map_err(|error| Trouble::Wrong(error.to_string()))?;
        let sent = if call.is_half { message.slice(..message.len() - 1) } else { message };
        body.send_data(sent, !call.is_half).map_err(cut_off)?;
        if let Some(time) = call.reset_after {
            sleep(time).await;
            body.send_reset(Reason::CANCEL);
            return Ok(());
        }
        let most = call.after.map_or(SOON, |after| after + self.pace.way);
        let ended = timeout(most, end(response, !call.is_reset)).await;
        let ended = ended.map_err(|_| Trouble::Wrong("the call has not ended in time".to_owned()))??;
        judge(call, &ended, from.elapsed() + self.pace.tick).map_err(Trouble::Wrong)
    }
}

/// How a node ends a call.
enum Ended {
    /// By a code, and an answer, framed.
    By(Code, Bytes),
    Reset,
}

fn judge(call: &Call, ended: &Ended, took: Duration) -> Result<(), String> {
    if call.after.is_some_and(|after| took < after) {
        return Err(format!("the call ended after {} ms, and is to last longer", took.as_millis()));
    }
    let expected = name_of(call.comes_to);
    match ended {
        Ended::Reset if call.is_reset => Ok(()),
        Ended::Reset => Err(format!("the call was reset, expected {expected}")),
        Ended::By(code, _) if call.is_reset => {
            Err(format!("the call came to {}, expected that it is reset", name_of(*code)))
        }
        Ended::By(code, _) if *code != call.comes_to => {
            Err(format!("the call came to {}, expected {expected}", name_of(*code)))
        }
        Ended::By(_, answer) => match &call.answer {
            Some(expected) if answer.get(PREFIX_BYTES..) != Some(&expected[..]) => {
                Err(format!("the call was answered with {answer:?}, expected {expected:?}"))
            }
            _ => Ok(()),
        },
    }
}

fn head(call: &Call) -> Result<http::Request<()>, Trouble> {
    let head = http::Request::builder()
        .method("POST")
        .version(http::Version::HTTP_2)
        .uri(format!("http://node{}", call.path))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let head = call.timeout.into_iter().fold(head, |head, timeout| head.header("grpc-timeout", timeout));
    let metadata = call.metadata.into_iter();
    let head = metadata.fold(head, |head, (name, bytes)| head.header(name, "x".repeat(bytes)));
    head.body(()).map_err(|error| Trouble::Wrong(error.to_string()))
}

/// How a call ends. What is read of its answer makes room for more, or does not.
async fn end(response: ResponseFuture, makes_room: bool) -> Result<Ended, Trouble> {
    let (head, mut body) = response.await.map_err(cut_off)?.into_parts();
    let mut answer = BytesMut::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                answer.extend_from_slice(&data);
                if makes_room {
                    body.flow_control().release_capacity(data.len()).map_err(cut_off)?;
                }
            }
            Err(error) if error.is_reset() && error.is_remote() => return Ok(Ended::Reset),
            Err(error) => return Err(cut_off(error)),
        }
    }
    let trailers = body.trailers().await.map_err(cut_off)?.unwrap_or_default();
    let code = code_in(&trailers).or_else(|| code_in(&head.headers));
    let code = code.ok_or_else(|| Trouble::Wrong(format!("HTTP {} without a grpc-status", head.status)))?;
    Ok(Ended::By(code, answer.freeze()))
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_i32(headers.get("grpc-status")?.to_str().ok()?.parse().ok()?))
}

fn cut_off(error: h2::Error) -> Trouble {
    Trouble::CutOff(format!("in place of the answer to a call: {error}"))
}
