//! A copy of the user's workspace, in which patches are applied: the user's own files are never touched.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// A copy of the files that belong to a workspace: those that git knows, and new ones that it does not ignore.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    /// Where cargo builds: it is no part of the workspace, even where git does not ignore it.
    pub(super) target: PathBuf,
}

impl Copy {
    /// Makes the copy the same as the workspace. A file that is the same already is left alone, so that cargo builds
    /// again only what differs; one that is written is new to cargo, whatever it contains.
    ///
    /// # Errors
    /// When git cannot say which files there are, or when one cannot be copied; the error names it.
    pub(super) fn refresh(&self) -> Result<(), String> {
        let files = self.files()?;
        fs::create_dir_all(&self.to).map_err(|error| format!("{}: {error}", self.to.display()))?;
        for file in &files {
            self.bring(file).map_err(|error| format!("{}: {error}", self.from.join(file).display()))?;
        }
        remove_all_but(&files, &self.to, Path::new(""))
            .map_err(|error| format!("{}: {error}", self.to.display()))
    }

    /// The files to copy, relative to the workspace. Cargo.lock is among them, ignored or not: with another one the
    /// copy would be another program.
    fn files(&self) -> Result<BTreeSet<PathBuf>, String> {
        let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = run_git(&self.from, |git| git.args(arguments)).map_err(|error| {
            format!("which files belong to {} is asked of git, and git says: {error}", self.from.display())
        })?;
        let listed = listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
        let mut files = BTreeSet::new();
        for name in listed.chain([PathBuf::from("Cargo.lock")]) {
            let there = self.from.join(&name);
            if there.starts_with(&self.target) {
                continue;
            }
            if there.is_dir() {
                // A repository within the repository is listed as a folder.
                all_below(&there, &name, &mut files)
                    .map_err(|error| format!("{}: {error}", there.display()))?;
            } else if there.exists() {
                files.insert(name);
            }
        }
        Ok(files)
    }

    fn bring(&self, name: &Path) -> io::Result<()> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        let mut wanted = fs::read(&from)?;
        if name.file_name() == Some(OsStr::new("Cargo.toml")) {
            let folder = from.parent().unwrap_or(&self.from);
            wanted = with_whole_paths(&String::from_utf8_lossy(&wanted), folder, &self.from).into_bytes();
        }
        if fs::read(&to).is_ok_and(|there| there == wanted) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, wanted)?;
        fs::set_permissions(&to, fs::metadata(&from)?.permissions())
    }

    /// Applies the patch in `file`, whose paths are relative to the workspace.
    ///
    /// # Errors
    /// In git's own words.
    pub(super) fn apply(&self, file: &Path) -> Result<(), String> {
        run_git(&self.to, |git| git.args(["apply", "--whitespace=nowarn"]).arg(file)).map(drop)
    }
}

/// Runs git in `folder`; what it prints, or else what it complains about.
///
/// No variable that git sets for its hooks counts, and a copy is in no repository, wherever it is: within one, git
/// would silently leave out what is not below the folder.
fn run_git(folder: &Path, options: impl FnOnce(&mut Command) -> &mut Command) -> Result<String, String> {
    let mut git = Command::new("git");
    git.env("LC_ALL", "C");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(variable);
    }
    if folder.ends_with(SOURCE) {
        git.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder));
    }
    let output = options(git.current_dir(folder)).output();
    let output = output.map_err(|error| format!("git could not be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The name of the folder that the copy is in.
pub(super) const SOURCE: &str = "source";

fn all_below(folder: &Path, name: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let is_own = entry.file_name() == ".git" || entry.file_name() == "target";
        if path.is_dir() && !is_own {
            all_below(&path, &name, files)?;
        } else if path.is_file() && !is_own {
            files.insert(name);
        }
    }
    Ok(())
}

/// Removes all other files below `folder`: a patch made them, or they have gone from the workspace.
fn remove_all_but(files: &BTreeSet<PathBuf>, folder: &Path, name: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        if path.is_dir() {
            remove_all_but(files, &path, &name)?;
        } else if !files.contains(&name) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A manifest in `folder` in which no path leads out of `root` by way of `..`: from the copy it would lead elsewhere.
fn with_whole_paths(manifest: &str, folder: &Path, root: &Path) -> String {
    const PATH: &str = "path = \"";
    let mut pieces = manifest.split(PATH);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (path, rest) = piece.split_once('"').unwrap_or((piece, ""));
        let whole = plain(&folder.join(path));
        let path = if whole.starts_with(root) { path.into() } else { whole.to_string_lossy() };
        text += &format!("{PATH}{path}\"{rest}");
    }
    text
}

/// `path` without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const PATCH: &str = "# scenario: calm\n# One is two.\ndiff --git a/src/one.rs b/src/one.rs\n\
        --- a/src/one.rs\n+++ b/src/one.rs\n@@ -1 +1 @@\n-fn one() {}\n+fn two() {}\n";

    struct Folder {
        copy: Copy,
        folder: tempfile::TempDir,
    }

    impl Folder {
        /// A repository with one file, and one that is ignored.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let from = folder.path().canonicalize().unwrap();
            let target = from.join("target");
            let copy = Copy { to: target.join(SOURCE), from, target };
            let made = Self { copy, folder };
            run_git(made.folder.path(), |git| git.args(["init", "--quiet"])).unwrap();
            made.write(".gitignore", "/target\n/ignored\n");
            made.write("ignored", "secret");
            made.write("src/one.rs", "fn one() {}\n");
            made.write("one.patch", PATCH);
            made
        }

        fn write(&self, name: &str, text: &str) {
            let file = self.folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        fn copied(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.copy.to.join(name)).ok()
        }

        fn apply(&self) -> Result<(), String> {
            self.copy.apply(&self.folder.path().join("one.patch"))
        }
    }

    #[test]
    fn what_git_ignores_is_not_copied_but_the_lock_file_is() {
        let folder = Folder::new();
        folder.write(".gitignore", "/target\n/ignored\nCargo.lock\n");
        folder.write("Cargo.lock", "locked");
        folder.copy.refresh().unwrap();
        assert_eq!(folder.copied("src/one.rs").as_deref(), Some("fn one() {}\n"));
        assert_eq!(
            (folder.copied("ignored"), folder.copied("Cargo.lock")),
            (None, Some("locked".to_owned()))
        );
    }

    #[test]
    fn what_cargo_built_is_not_copied_even_where_git_does_not_ignore_it() {
        let folder = Folder::new();
        folder.write(".gitignore", "");
        folder.write("target/debug/program", "");
        folder.copy.refresh().unwrap();
        assert_eq!(folder.copied("target/debug/program"), None);
        assert!(folder.copied("src/one.rs").is_some());
    }

    #[test]
    fn a_patch_changes_the_copy_and_a_refresh_takes_it_back() {
        let folder = Folder::new();
        folder.copy.refresh().unwrap();
        folder.apply().unwrap();
        assert_eq!(folder.copied("src/one.rs").as_deref(), Some("fn two() {}\n"));
        folder.copy.refresh().unwrap();
        assert_eq!(folder.copied("src/one.rs").as_deref(), Some("fn one() {}\n"));
        let own = fs::read_to_string(folder.folder.path().join("src/one.rs")).unwrap();
        assert_eq!(own, "fn one() {}\n");
    }

    #[test]
    fn only_what_differs_is_written_again() {
        let folder = Folder::new();
        folder.copy.refresh().unwrap();
        let open = |name| fs::File::options().write(true).open(folder.copy.to.join(name)).unwrap();
        let written = |name| open(name).metadata().unwrap().modified().unwrap();
        let names = ["one.patch", "src/one.rs"];
        for name in names {
            open(name).set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        folder.apply().unwrap();
        folder.copy.refresh().unwrap();
        let is_old = names.map(|name| written(name) == SystemTime::UNIX_EPOCH);
        assert_eq!(is_old, [true, false], "cargo would take the patched program for the clean one");
    }

    #[test]
    fn what_is_no_longer_in_the_workspace_leaves_the_copy() {
        let folder = Folder::new();
        folder.write("src/gone.rs", "");
        folder.copy.refresh().unwrap();
        fs::remove_file(folder.folder.path().join("src/gone.rs")).unwrap();
        folder.copy.refresh().unwrap();
        assert_eq!(folder.copied("src/gone.rs"), None);
    }

    #[test]
    fn a_patch_that_no_longer_applies_fails_in_gits_own_words() {
        let folder = Folder::new();
        folder.write("src/one.rs", "fn three() {}\n");
        folder.copy.refresh().unwrap();
        let error = folder.apply().unwrap_err();
        assert!(error.contains("patch failed: src/one.rs:1"), "{error}");
    }

    #[test]
    fn a_workspace_without_a_repository_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (from, target) = (folder.path().to_owned(), folder.path().join("target"));
        let copy = Copy { from, to: target.join(SOURCE), target };
        let error = copy.refresh().unwrap_err();
        assert!(error.contains("not a git repository") && error.contains(&*folder.path().to_string_lossy()));
    }

    #[test]
    fn a_path_out_of_the_workspace_leads_to_the_same_place_from_the_copy() {
        let manifest = "a = { path = \"../a\" }\nb = { path = \"../../b\", optional = true }\n";
        let copied = with_whole_paths(manifest, Path::new("/home/shop/app"), Path::new("/home/shop"));
        assert_eq!(copied, "a = { path = \"../a\" }\nb = { path = \"/home/b\", optional = true }\n");
    }
}
