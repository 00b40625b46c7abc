//! What a service must not forget: lines in a journal, which are there after a power loss once they were written.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use node::Status;
use node::disk::{Disk, Files};

/// The disks of the services, by name.
#[derive(Clone)]
pub struct Disks(Arc<dyn Fn(&str) -> io::Result<Arc<dyn Disk>> + Send + Sync>);

impl Disks {
    /// Files in a folder.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self::new(move |name| Ok(Arc::new(Files::open(folder.clone(), name)?)))
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
pub(crate) fn words_of_the_journal<const N: usize>(words: [&String; N]) -> node::Result<()> {
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
}

impl Journal {
    /// Reads what there is. A line that was cut off by a power loss was never answered for, and goes: what is written
    /// next must not continue it.
    fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let bytes = disk.read()?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if whole < bytes.len() {
            disk.replace(&bytes[..whole])?;
        }
        let lines = String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect();
        Ok(Self { disk, lines })
    }

    /// The words of each line that an earlier process wrote.
    pub(crate) fn take_lines(&mut self) -> Vec<Vec<String>> {
        let lines = std::mem::take(&mut self.lines);
        lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// Writes a line, and returns when it will not be forgotten.
    pub(crate) fn write(&self, line: fmt::Arguments<'_>) {
        let line = format!("{line}\n");
        let written = self.disk.append(line.as_bytes()).and_then(|()| self.disk.sync());
        // A line of which a part is written must not be continued by the next: the actor dies, and the next one
        // begins with what is whole.
        written.expect("the shop cannot do without its journals");
    }
}
