//! Whole folders, copied so that cargo takes the copy for what it has built itself, and removed.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Copies all that is in `from` to `to`, but for folders with a name in `without`. Everything keeps the time when it was
/// written, by which cargo tells what is built already.
///
/// # Errors
/// When something cannot be copied; the error names the folder.
pub(super) fn copy(from: &Path, to: &Path, without: &[&str]) -> Result<(), String> {
    copy_below(from, to, without).map_err(|error| format!("{}: {error}", from.display()))
}

fn copy_below(from: &Path, to: &Path, without: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if !path.is_dir() {
            fs::copy(&path, &copied)?;
            File::open(&copied)?.set_modified(entry.metadata()?.modified()?)?;
        } else if !without.iter().any(|name| entry.file_name() == *name) {
            copy_below(&path, &copied, without)?;
        }
    }
    // The last, since a folder is written with each thing in it.
    File::open(to)?.set_modified(fs::metadata(from)?.modified()?)
}

/// Removes `folder` with all that is in it, if it is there.
///
/// # Errors
/// When something cannot be removed; the error names the folder.
pub(super) fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_is_copied_is_as_old_to_cargo_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let old = SystemTime::UNIX_EPOCH;
        for name in ["deps/lib", "incremental/state"] {
            fs::create_dir_all(from.join(name).parent().unwrap()).unwrap();
            fs::write(from.join(name), name).unwrap();
            File::open(from.join(name)).unwrap().set_modified(old).unwrap();
        }
        File::open(from.join("deps")).unwrap().set_modified(old).unwrap();
        copy(&from, &to, &["incremental"]).unwrap();
        assert_eq!(fs::read_to_string(to.join("deps/lib")).unwrap(), "deps/lib");
        let written = |name| fs::metadata(to.join(name)).unwrap().modified().unwrap();
        assert_eq!((written("deps"), written("deps/lib")), (old, old));
        assert!(!to.join("incremental").exists());
    }
}
