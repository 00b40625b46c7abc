//! What a service must not forget: lines in a journal, which are there after a power loss once they were written.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
    pub(crate) fn write(&self, line: fmt::Arguments<'_>) -> node::Result<()> {
        let line = format!("{line}\n");
        let written = self.disk.append(line.as_bytes()).and_then(|()| self.disk.sync());
        written.map_err(|error| node::Status::unavailable(format!("the journal cannot be written: {error}")))
    }
}
