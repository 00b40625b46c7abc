//! Whole folders, copied so that cargo takes the copy for what it has built itself, and removed.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Copies what is in `from` to `to`, if it `is_wanted`, which is asked with the path below `from` of each file and folder.
/// Everything keeps the time when it was written, by which cargo tells what is built already.
///
/// # Errors
/// When something cannot be copied; the error names the folder.
pub(super) fn copy(from: &Path, to: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<(), String> {
    copy_below(from, to, Path::new(""), is_wanted).map_err(|error| format!("{}: {error}", from.display()))
}

/// Copies what is in the folder `below` of `from`.
fn copy_below(from: &Path, to: &Path, below: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let (whole, copy) = (from.join(below), to.join(below));
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(&whole)? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if !is_wanted(&path) {
            continue;
        }
        if entry.path().is_dir() {
            copy_below(from, to, &path, is_wanted)?;
        } else {
            let copied = to.join(&path);
            fs::copy(entry.path(), &copied)?;
            File::open(&copied)?.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    // The time of the folder itself is set last: whatever is put into a folder changes it.
    File::open(&copy)?.set_modified(fs::metadata(&whole)?.modified()?)
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
        copy(&from, &to, &|path| path != Path::new("incremental")).unwrap();
        assert_eq!(fs::read_to_string(to.join("deps/lib")).unwrap(), "deps/lib");
        let written = |name| fs::metadata(to.join(name)).unwrap().modified().unwrap();
        assert_eq!((written("deps"), written("deps/lib")), (old, old));
        assert!(!to.join("incremental").exists());
    }
}
