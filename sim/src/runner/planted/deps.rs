//! What a program depends on, as the user has built it already: a new workshop begins with that.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use super::folder;

/// Copies what cargo has built of packages other than `own` from the target folder `from` to `to`, where there is none
/// yet. Whatever cargo would have built in another way there, it builds again.
///
/// # Errors
/// When something cannot be copied; the error names the folder.
pub(super) fn bring(from: &Path, to: &Path, own: &BTreeSet<String>) -> Result<(), String> {
    let (from, begun) = (from.join(PROFILE), to.with_extension("begun"));
    // A run that was cut off may have left half of it.
    folder::remove(&begun)?;
    if to.exists() {
        return Ok(());
    }
    let units = match units(&from.join(FINGERPRINTS), own) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        units => units.map_err(|error| format!("{}: {error}", from.display()))?,
    };
    let is_wanted = |path: &Path| {
        let mut names = path.iter();
        let is_known = names.next().is_some_and(|folder| FOLDERS.iter().any(|known| folder == *known));
        is_known && names.next().is_none_or(|name| unit(name).is_some_and(|unit| units.contains(unit)))
    };
    folder::copy(&from, &begun.join(PROFILE), &is_wanted)?;
    fs::rename(&begun, to).map_err(|error| format!("{}: {error}", to.display()))
}

/// The folder, in the target folder, of what is built with the profile `dev`.
const PROFILE: &str = "debug";

/// Where cargo keeps what it knows of each unit that it has built.
const FINGERPRINTS: &str = ".fingerprint";

/// The folders with what units are built to. The rest is the user's own programs.
const FOLDERS: [&str; 3] = [FINGERPRINTS, "build", "deps"];

/// What tells the units apart that are of packages other than `own`.
fn units(fingerprints: &Path, own: &BTreeSet<String>) -> io::Result<BTreeSet<String>> {
    let names = fs::read_dir(fingerprints)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let units = names.iter().filter_map(|name| {
        let unit = unit(name)?;
        let package = name.to_str()?.strip_suffix(unit)?.trim_end_matches('-');
        (!own.contains(package)).then(|| unit.to_owned())
    });
    Ok(units.collect())
}

/// What stands behind the package or crate in the name of a folder or file, as in `h2-ae749396f22caab7.d`.
fn unit(name: &OsStr) -> Option<&str> {
    let (_, behind) = name.to_str()?.rsplit_once('-')?;
    behind.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_workshop_begins_with_what_others_wrote_and_an_old_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let files = [
            ".fingerprint/h2-0a/lib",
            ".fingerprint/my-own-0b/lib",
            "deps/libh2-0a.rlib",
            "deps/libmy_own-0b.rlib",
            "incremental/h2-0a/state",
            "my-own",
        ];
        for file in files.map(|file| from.join(PROFILE).join(file)) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "built").unwrap();
        }
        let own = BTreeSet::from(["my-own".to_owned()]);
        bring(&from, &to, &own).unwrap();
        let there = |file: &&str| to.join(PROFILE).join(file).exists();
        assert_eq!(files.iter().filter(|file| there(file)).count(), 2);
        assert!(there(&files[0]) && there(&files[2]));

        fs::remove_dir_all(to.join(PROFILE)).unwrap();
        bring(&from, &to, &own).unwrap();
        assert!(!there(&files[0]));
    }

    #[test]
    fn who_has_built_nothing_yet_has_nothing_brought() {
        let folder = tempfile::tempdir().unwrap();
        bring(&folder.path().join("from"), &folder.path().join("to"), &BTreeSet::new()).unwrap();
        assert!(!folder.path().join("to").exists());
    }
}
