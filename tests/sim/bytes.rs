//! What must hold of the bytes that a gRPC edge says it has sent.

use std::collections::BTreeMap;
use std::time::Duration;

use probe_contract::{Played, back, front};
use rehearse::facts::StreamMessage;
use rehearse::{CallRecord, Event, Invariant, Wants};
use transport::Method as _;

/// What stands before each message of gRPC.
const FRAME_HEAD: usize = 5;

/// The access line of a stream tells no fewer bytes than its client has got.
#[derive(Debug, Default)]
pub(crate) struct BytesOfStreams {
    streams: BTreeMap<u32, Stream>,
    met: u64,
}

/// What is shown to one client.
#[derive(Debug, Default)]
struct Stream {
    /// At least so many bytes have come.
    came: u64,
    /// The most that a line says.
    said: Option<(u64, Duration)>,
}

impl Invariant for BytesOfStreams {
    fn name(&self) -> &str {
        "an access line tells all bytes of a stream"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<StreamMessage>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(request) = event.request else { return Ok(()) };
        if let Some(message) = event.told::<StreamMessage>() {
            let played = message.message::<Played>().unwrap_or_default();
            let came = FRAME_HEAD + played.text.len() + played.padding.len();
            self.streams.entry(request).or_default().came += came as u64;
        } else if event.text("path").is_some_and(|path| [front::Show::PATH, back::Show::PATH].contains(&path))
            && let Some(bytes) = event.number("bytes").and_then(|bytes| u64::try_from(bytes).ok())
        {
            let said = &mut self.streams.entry(request).or_default().said;
            *said = (*said).max(Some((bytes, event.at)));
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some(stream) = self.streams.remove(&call.request.id) else { return Ok(()) };
        let Stream { came, said: Some((said, at)) } = stream else { return Ok(()) };
        self.met += 1;
        if said >= came {
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
