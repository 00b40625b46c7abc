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
        Journal((self.0)(name).expect("the shop cannot do without its journals"))
    }
}

/// Lines of words, without line breaks inside.
pub struct Journal(Arc<dyn Disk>);

impl Journal {
    /// All that was written. A line that was cut off by a power loss was never answered for.
    pub(crate) fn lines(&self) -> Vec<Vec<String>> {
        let bytes = self.0.read().expect("a journal that cannot be read must not be taken for an empty one");
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// Writes a line, and returns when it will not be forgotten.
    pub(crate) fn write(&self, line: fmt::Arguments<'_>) -> node::Result<()> {
        let line = format!("{line}\n");
        let written = self.0.append(line.as_bytes()).and_then(|()| self.0.sync());
        written.map_err(|error| node::Status::unavailable(format!("the journal cannot be written: {error}")))
    }
}
