//! A connection on which a stranger speaks: what it says goes out as the seed cuts it, what comes is kept until it is
//! looked for.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use transport::Io;

use super::pace::SOON;
use crate::strangers::http2;

/// Why a visit was not as its script has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection has ended, and all that came was right.
    CutOff(String),
    /// What came was wrong, or did not come in time.
    Wrong(String),
}

impl Trouble {
    /// The same, with the number of the step.
    pub(super) fn at(self, step: usize) -> Self {
        match self {
            Self::CutOff(what) => Self::CutOff(format!("step {step}: {what}")),
            Self::Wrong(what) => Self::Wrong(format!("step {step}: {what}")),
        }
    }
}

pub(super) struct Line {
    io: Io,
    seen: BytesMut,
    /// Whether the node has said all.
    has_ended: bool,
    /// The size of the segments, and the pause between them.
    piece: usize,
    pause: Duration,
}

/// More pieces than this are none: the rest is one.
const PIECES_MAX: usize = 30;

/// The head of a frame of HTTP/2.
const FRAME_HEAD: usize = 9;

impl Line {
    /// `cut` is how a plan says in which pieces it speaks: `BYTES/MILLISECONDS`, or nothing for one piece.
    pub(super) fn new(io: Io, cut: &str) -> Self {
        let (piece, pause) = cut.split_once('/').unwrap_or_default();
        let piece = piece.parse().ok().filter(|piece| *piece > 0).unwrap_or(usize::MAX);
        let pause = Duration::from_millis(pause.parse().unwrap_or_default());
        Self { io, seen: BytesMut::new(), has_ended: false, piece, pause }
    }

    pub(super) fn into_io(self) -> Io {
        self.io
    }

    /// Says this. That the node does not listen any more, or not now, is seen by what it says.
    pub(super) async fn say(&mut self, bytes: &[u8], is_whole: bool) {
        let mut rest = bytes;
        let mut pieces = 0;
        while !rest.is_empty() {
            let is_last = is_whole || pieces == PIECES_MAX;
            let (piece, after) = rest.split_at(if is_last { rest.len() } else { rest.len().min(self.piece) });
            if !matches!(timeout(SOON, self.write(piece)).await, Ok(Ok(()))) {
                return;
            }
            (rest, pieces) = (after, pieces + 1);
            if !rest.is_empty() && !self.pause.is_zero() {
                sleep(self.pause).await;
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    pub(super) async fn half_close(&mut self) {
        // As above.
        self.io.shutdown().await.ok();
    }

    /// The first bytes of what has come, and what `find` makes of them once it can.
    pub(super) async fn look<T>(
        &mut self,
        what: &str,
        by: Instant,
        mut find: impl FnMut(&mut BytesMut) -> Option<T>,
    ) -> Result<T, Trouble> {
        loop {
            if let Some(found) = find(&mut self.seen) {
                return Ok(found);
            }
            if self.has_ended {
                return Err(Trouble::CutOff(format!("the node said all before {what}{}", self.told())));
            }
            self.read(what, by).await?;
        }
    }

    async fn read(&mut self, what: &str, by: Instant) -> Result<(), Trouble> {
        match timeout_at(by, self.io.read_buf(&mut self.seen)).await {
            Ok(Ok(0)) => self.has_ended = true,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Trouble::CutOff(format!("in place of {what}: {error}"))),
            Err(_) => return Err(Trouble::Wrong(format!("{what} did not come in time{}", self.told()))),
        }
        Ok(())
    }

    /// Waits for the end, before which nothing may come, or nothing that counts.
    pub(super) async fn end(&mut self, is_silent: bool, by: Instant) -> Result<(), Trouble> {
        while !self.has_ended {
            if !is_silent {
                self.seen.clear();
            }
            self.read("the end", by).await?;
        }
        match is_silent && !self.seen.is_empty() {
            true => Err(Trouble::Wrong(format!("more came before the end{}", self.told()))),
            false => Ok(()),
        }
    }

    /// Waits for a frame that begins with `beginning` behind its length.
    pub(super) async fn frame(&mut self, beginning: &[u8], by: Instant) -> Result<(), Trouble> {
        while !self.next_frame("the frame", by).await?.starts_with(beginning) {}
        Ok(())
    }

    /// Waits for the end, and answers PINGs until then.
    pub(super) async fn end_of_frames(&mut self, by: Instant) -> Result<(), Trouble> {
        loop {
            match self.next_frame("the end", by).await {
                Ok(_) => {}
                Err(Trouble::CutOff(_)) if self.has_ended => return Ok(()),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Waits for GOAWAY. Who has heard the node must not be cut off without it.
    pub(super) async fn goaway(&mut self) -> Result<(), Trouble> {
        let mut is_known = false;
        loop {
            match self.next_frame("GOAWAY", far()).await {
                Ok(frame) if frame.first() == Some(&http2::GOAWAY) => return Ok(()),
                Ok(_) => is_known = true,
                Err(Trouble::CutOff(what)) if is_known => return Err(Trouble::Wrong(what)),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// The next frame from its type on. PINGs are answered.
    async fn next_frame(&mut self, what: &str, by: Instant) -> Result<Bytes, Trouble> {
        let frame = self.look(what, by, take_frame).await?;
        if frame.starts_with(&[http2::PING, 0]) {
            let answer = http2::frame(http2::PING, http2::ACK, 0, &frame[FRAME_HEAD - 3..]);
            // As above.
            self.write(&answer).await.ok();
        }
        Ok(frame)
    }

    /// What has come, in words: its beginning.
    fn told(&self) -> String {
        const MOST: usize = 60;
        match self.seen.len() {
            0 => String::new(),
            _ => format!(", after {:?}", self.seen[..self.seen.len().min(MOST)].escape_ascii().to_string()),
        }
    }
}

/// Who waits for GOAWAY has a time of its own.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// A whole frame from its type on, if there is one.
fn take_frame(seen: &mut BytesMut) -> Option<Bytes> {
    let [a, b, c] = *seen.first_chunk()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if seen.len() < FRAME_HEAD + length {
        return None;
    }
    seen.advance(3);
    Some(seen.split_to(FRAME_HEAD - 3 + length).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_all_of_it_is_there() {
        let bytes = [http2::frame(http2::PING, 0, 0, b"12345678"), vec![0; 3]].concat();
        let mut seen = BytesMut::from(&bytes[..10]);
        assert_eq!(take_frame(&mut seen), None);
        seen.extend_from_slice(&bytes[10..]);
        assert_eq!(take_frame(&mut seen).as_deref(), Some(&b"\x06\0\0\0\0\x0012345678"[..]));
        assert_eq!(take_frame(&mut seen), None);
    }
}
