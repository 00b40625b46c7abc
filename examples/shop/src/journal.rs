//! What a service must not forget: lines in a journal, which are there after a power loss once they were written.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use node::disk::{Disk, Files};
use node::{Result, Status};

/// The disks of the services, by name.
#[derive(Clone)]
pub struct Disks(Arc<dyn Fn(&str) -> io::Result<Arc<dyn Disk>> + Send + Sync>);

impl Disks {
    /// Files in a folder, which no other process may use meanwhile.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self::new(move |name| Ok(Arc::new(Files::open_alone(&folder.join(name))?)))
    }

    pub fn new(open: impl Fn(&str) -> io::Result<Arc<dyn Disk>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(crate) fn journal(&self, name: &str) -> Journal {
        let open = (self.0)(name).and_then(Journal::open);
        open.expect("the shop cannot do without its journals")
    }
}

/// Refuses what is no word: it would pass for other words, or other lines, when the journal is read again.
pub(crate) fn words_of_the_journal<const N: usize>(words: [&String; N]) -> Result<()> {
    let is_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    match words.into_iter().find(|word| !is_word(word)) {
        Some(word) => Err(Status::invalid_argument(format!("{word:?}: expected a word without spaces"))),
        None => Ok(()),
    }
}

/// Lines of words, without line breaks inside.
pub struct Journal {
    disk: Arc<dyn Disk>,
    lines: Vec<String>,
    /// How many bytes there are of lines that are written.
    written: usize,
    /// Whether the disk may have more than those, as a part of a line that could not be written, or may forget some.
    is_doubtful: bool,
}

impl Journal {
    /// Reads what there is. A line that was cut off by a power loss was never answered for, and goes. One that is whole may
    /// be one that an earlier process could not sync: nothing is answered for it until it is written anew.
    fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let bytes = disk.read()?;
        let written = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = String::from_utf8_lossy(&bytes[..written]).lines().map(str::to_owned).collect();
        Ok(Self { disk, lines, written, is_doubtful: !bytes.is_empty() })
    }

    /// The words of each line that an earlier process wrote.
    pub(crate) fn take_lines(&mut self) -> Vec<Vec<String>> {
        let lines = std::mem::take(&mut self.lines);
        lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// Keeps what is written, and nothing else: when it returns, what is known from the journal may be answered for.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if the disk fails.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.mend().map_err(unavailable)
    }

    /// Writes a line, and returns when it will not be forgotten.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if the disk fails. Then the line is not written: what there may be of it goes before the next one
    /// is, or is there after a restart, as if the answer had been lost.
    pub(crate) fn write(&mut self, line: fmt::Arguments<'_>) -> Result<()> {
        let line = format!("{line}\n");
        self.append(line.as_bytes()).map_err(unavailable)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.is_doubtful = true;
        self.disk.append(line)?;
        self.disk.sync()?;
        self.is_doubtful = false;
        self.written += line.len();
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.is_doubtful {
            self.disk.replace(&self.disk.read()?[..self.written])?;
            self.is_doubtful = false;
        }
        Ok(())
    }
}

fn unavailable(error: io::Error) -> Status {
    Status::unavailable(format!("the journal: {error}"))
}
