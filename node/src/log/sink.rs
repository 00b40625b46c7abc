//! Where lines go, and what becomes of those that it does not take.

use std::io::{self, ErrorKind, Write};
use std::thread::park_timeout;
use std::time::Duration;

/// How long nothing is written to a sink that does not wait and is full.
const FULL: Duration = Duration::from_millis(5);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Sink<W> {
    to: W,
    /// The last line was written in part.
    is_line_broken: bool,
}

impl<W: Write> Sink<W> {
    pub(super) fn to(to: W) -> Self {
        Self { to, is_line_broken: false }
    }

    /// Writes `lines`, with one call to the system where it takes them all. Otherwise the rest that it did not take.
    pub(super) fn write<'a>(&mut self, lines: &'a [u8]) -> Result<(), (io::Error, &'a [u8])> {
        if self.is_line_broken {
            self.write_bytes(b"\n").map_err(|(error, _)| (error, lines))?;
            self.is_line_broken = false;
        }
        self.write_bytes(lines).inspect_err(|(_, left)| {
            let written = &lines[..lines.len() - left.len()];
            self.is_line_broken = written.last().is_some_and(|last| *last != b'\n');
        })
    }

    fn write_bytes<'a>(&mut self, mut bytes: &'a [u8]) -> Result<(), (io::Error, &'a [u8])> {
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(0) => return Err((ErrorKind::WriteZero.into(), bytes)),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody else has made it so. It is full.
                Err(error) if error.kind() == ErrorKind::WouldBlock => park_timeout(FULL),
                Err(error) => return Err((error, bytes)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes before it fails, once.
    struct Failing {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            self.taken.extend_from_slice(&bytes[..count]);
            self.room -= count;
            if count == 0 {
                self.room = usize::MAX;
                return Err(ErrorKind::StorageFull.into());
            }
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_broken_off_breaks_no_other() {
        for (room, taken, left) in [(3, "one", "\ntwo\n"), (4, "one\n", "two\n"), (5, "one\nt", "wo\n")] {
            let mut sink = Sink::to(Failing { room, taken: Vec::new() });
            let (_, rest) = sink.write(b"one\ntwo\n").expect_err("it is full");
            assert_eq!((rest, sink.to.taken.as_slice()), (left.as_bytes(), taken.as_bytes()));
            assert!(sink.write(b"three\n").is_ok());
            assert_eq!(sink.to.taken, format!("{}\nthree\n", taken.trim_end()).as_bytes());
        }
    }
}
