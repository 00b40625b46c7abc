//! A disk that is a file in a folder of this machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Disk;

/// A file in a folder. A sync is `fdatasync`; a replacement is written to `NAME.new`, synced and renamed.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    path: PathBuf,
    /// Kept open, since an error of writing back is told to those who had the file open when it happened.
    file: Mutex<File>,
    /// Locked for as long as there is this disk, where nobody else may have it.
    _lock: Option<File>,
}

impl Files {
    /// Opens the file `name` in `folder`; makes both if they are missing.
    ///
    /// # Errors
    ///
    /// If they cannot be made or opened.
    pub fn open(folder: impl Into<PathBuf>, name: &str) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        // The file's name, which is the folder's to keep.
        sync_folder(&folder)?;
        Ok(Self { folder, path, file: Mutex::new(file), _lock: None })
    }

    /// Opens the file at `path`, as [`Self::open`] does, unless somebody has it opened so. The lock is on a file beside
    /// it, `NAME.lock`, since a replacement is another file; it ends with the process, however that ends.
    ///
    /// # Errors
    ///
    /// If another process has it, or it cannot be made or opened.
    pub fn open_alone(path: &Path) -> io::Result<Self> {
        let (Some(name), Some(folder)) = (path.file_name().and_then(|name| name.to_str()), path.parent())
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file"));
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::create_dir_all(folder)?;
        let lock = path.with_added_extension("lock");
        let lock = OpenOptions::new().append(true).create(true).open(lock)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process has it"),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { _lock: Some(lock), ..Self::open(folder, name)? })
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // Whoever panicked has left the file as it would have left it by an error.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_new(&self, bytes: &[u8]) -> io::Result<File> {
        let path = self.path.with_added_extension("new");
        // One of an earlier replacement that was interrupted.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&path, &self.path)?;
        Ok(file)
    }
}

impl Disk for Files {
    fn read(&self) -> io::Result<Vec<u8>> {
        let _file = self.file();
        fs::read(&self.path)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file().sync_data()
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file();
        // The handle stays with its file when that is renamed.
        *file = self.write_new(bytes)?;
        sync_folder(&self.folder)
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder can be made")
    }

    #[test]
    fn what_was_appended_is_read_by_the_next_process() {
        let folder = folder();
        let disk = Files::open(folder.path().join("deep/er"), "log").expect("it can be made");
        assert_eq!(disk.read().expect("it reads"), b"");
        disk.append(b"one,").expect("it writes");
        disk.append(b"two,").expect("it writes");
        disk.sync().expect("it syncs");
        drop(disk);
        let disk = Files::open(folder.path().join("deep/er"), "log").expect("it is there");
        disk.append(b"three").expect("it writes");
        assert_eq!(disk.read().expect("it reads"), b"one,two,three");
    }

    #[test]
    fn who_has_a_disk_alone_has_it_until_it_is_dropped_also_over_a_replacement() {
        let folder = folder();
        let path = folder.path().join("log");
        let disk = Files::open_alone(&path).expect("nobody has it");
        disk.replace(b"new").expect("it replaces");
        let error = Files::open_alone(&path).expect_err("it is taken");
        assert_eq!(error.to_string(), "another process has it");
        drop(disk);
        assert_eq!(Files::open_alone(&path).expect("nobody has it").read().expect("it reads"), b"new");
    }

    #[test]
    fn a_replacement_takes_the_place_of_all_and_can_be_appended_to() {
        let folder = folder();
        let disk = Files::open(folder.path(), "log").expect("it can be made");
        disk.append(b"long and old").expect("it writes");
        disk.replace(b"new").expect("it replaces");
        disk.append(b"er").expect("it writes");
        disk.sync().expect("it syncs");
        assert_eq!(disk.read().expect("it reads"), b"newer");
        assert_eq!(fs::read(folder.path().join("log")).expect("it is there"), b"newer");
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_replacement_that_was_interrupted_has_changed_nothing_and_is_in_nobodys_way() {
        let folder = folder();
        fs::write(folder.path().join("log.new"), "half of a repl").expect("a file can be written");
        let disk = Files::open(folder.path(), "log").expect("it can be made");
        disk.append(b"old").expect("it writes");
        assert_eq!(disk.read().expect("it reads"), b"old");
        disk.replace(b"new").expect("it replaces");
        assert_eq!(disk.read().expect("it reads"), b"new");
    }

    #[test]
    fn a_replacement_that_fails_leaves_what_was_there() {
        let folder = folder();
        let disk = Files::open(folder.path(), "log").expect("it can be made");
        disk.append(b"old").expect("it writes");
        // A folder stands where the new file would be written.
        fs::create_dir(folder.path().join("log.new")).expect("a folder can be made");
        disk.replace(b"new").expect_err("it cannot be written");
        disk.append(b"er").expect("it writes");
        assert_eq!(disk.read().expect("it reads"), b"older");
    }
}
