//! What processes say: each line is read in bounded memory, kept in a file, and told to the recorder as if a simulated
//! host had said it.

use std::fs::File;
use std::io::Write as _;
use std::time::SystemTime;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::as_process::Said;
use crate::tempo::Tempo;
use crate::trace::recorder;

/// The longest line that is read: a few times as long as any that should come.
const LINE_BYTES: usize = 256 * 1024;

/// Lines, as they come.
pub(super) struct Output {
    from: pipe::Receiver,
    log: File,
    read: Vec<u8>,
}

impl Output {
    /// What comes from a process; all of it is also written to `log`.
    pub(super) fn new(from: pipe::Receiver, log: File) -> Self {
        Self { from, log, read: Vec::new() }
    }

    /// The next line; `None` if there is none, or the file of the log cannot be written.
    pub(super) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.read.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.read.len() > LINE_BYTES {
                return Some(String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned());
            }
            let mut bytes = [0; 8 * 1024];
            let count = self.from.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
            self.log.write_all(&bytes[..count]).ok()?;
            self.read.extend_from_slice(&bytes[..count]);
        }
    }
}

/// Tells what `host` said; when the plan began, if it has, is known.
pub(super) fn tell(host: usize, said: Said, begun: Option<SystemTime>, tempo: Tempo) {
    let since = begun.and_then(|begun| said.at.duration_since(begun).ok()).unwrap_or_default();
    recorder::with(|recorder| {
        recorder.told_of(host, since / tempo.stretch(), |recorder| {
            let Said { line, fact, request_id, .. } = said;
            recorder.log(line, request_id.clone());
            if let Some(fact) = fact {
                recorder.tell(fact, request_id.as_deref());
            }
        });
    });
}
