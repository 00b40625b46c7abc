//! What must hold of the bytes that a gRPC edge says it has sent.

use std::collections::BTreeMap;
use std::time::Duration;

use probe_contract::{Played, back, front};
use rehearse::facts::StreamMessage;
use rehearse::{CallRecord, Event, Invariant, Wants, answer};
use transport::Method as _;

/// What stands before each message of gRPC.
const FRAME_HEAD: usize = 5;

/// The rpcs whose answers come from where their clients ask.
const PATHS: [&str; 3] = [front::Play::PATH, front::Show::PATH, back::Show::PATH];

/// The access line of a call over gRPC tells no fewer bytes than its client has got.
#[derive(Debug, Default)]
pub(crate) struct BytesOfAnswers {
    answers: BTreeMap<u32, Answer>,
    met: u64,
}

/// What is played or shown to one client.
#[derive(Debug, Default)]
struct Answer {
    /// At least so many bytes have come.
    came: u64,
    /// The most that a line of each rpc says.
    said: BTreeMap<String, (u64, Duration)>,
}

impl Invariant for BytesOfAnswers {
    fn name(&self) -> &str {
        "an access line tells all bytes of an answer"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<StreamMessage>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(request) = event.request else { return Ok(()) };
        if let Some(message) = event.told::<StreamMessage>() {
            let played = message.message::<Played>().unwrap_or_default();
            self.answers.entry(request).or_default().came += FRAME_HEAD as u64 + bytes_of(&played);
        } else if let Some(path) = event.text("path").filter(|path| PATHS.contains(path))
            && let Some(bytes) = event.number("bytes").and_then(|bytes| u64::try_from(bytes).ok())
        {
            let said = self.answers.entry(request).or_default().said.entry(path.to_owned()).or_default();
            *said = (*said).max((bytes, event.at));
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(told) = self.answers.remove(&call.request.id) else { return Ok(()) };
        let played = answer::<front::Play>(call).filter(|_| call.request.client == "grpc");
        let (path, came) = match played {
            Some(played) => (front::Play::PATH, bytes_of(&played)),
            None if call.request.kind == "back/Show" => (back::Show::PATH, told.came),
            None => (front::Show::PATH, told.came),
        };
        let Some((said, at)) = told.said.get(path) else { return Ok(()) };
        self.met += 1;
        if *said >= came {
            return Ok(());
        }
        Err(format!(
            "{} has got {came} bytes at least; its access line says {said}, at {} ms",
            call.request_id,
            at.as_millis()
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// The fewest bytes that this takes.
fn bytes_of(played: &Played) -> u64 {
    (played.text.len() + played.padding.len()) as u64
}
