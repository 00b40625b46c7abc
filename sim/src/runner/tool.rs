//! How the user starts this program: the commands that are printed, to be pasted where the user stands.

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::plan::Plan;
use crate::rehearsal::Rehearsal;

use super::user;

/// The first argument by which the tool is told from the test.
pub(super) const TOOL: &str = "rehearse";

/// The package and the test target that this program was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) package: String,
    pub(super) target: String,
    command: String,
}

impl Tool {
    /// The test target of the package in `manifest_dir` from which the running program was built.
    pub(super) fn of(manifest_dir: &Path) -> Self {
        let program = std::env::current_exe().ok();
        let stem = program.as_deref().and_then(Path::file_stem).unwrap_or_default().to_string_lossy();
        Self::new(manifest_dir, without_hash(&stem), &user::folder(), !cfg!(debug_assertions))
    }

    fn new(manifest_dir: &Path, stem: &str, stands: &Path, is_release: bool) -> Self {
        let manifest = manifest(manifest_dir).unwrap_or_default();
        let package = name_in(manifest.get("package")).unwrap_or(stem).to_owned();
        let target = target(manifest_dir, &manifest, stem);
        let mut command = "cargo test".to_owned();
        if is_release {
            command += " --release";
        }
        let workspace = workspace_of(manifest_dir);
        if workspace.is_some() && workspace_of(stands) != workspace {
            let manifest = manifest_dir.join(MANIFEST);
            let short = manifest.strip_prefix(stands).unwrap_or(&manifest);
            command += &format!(" --manifest-path {}", user::quoted(&short.to_string_lossy()));
        }
        command += &format!(" -p {package} --test {target} -- {TOOL}");
        Self { package, target, command }
    }

    /// The command without any option: rehearses, and takes the options of the tool.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// The line that plays the plan of this scenario and seed again; under its planted bug, if it has one.
    pub(super) fn seed(&self, plan: &Plan, planted: Option<&str>) -> String {
        let planted = planted.map(|name| format!(" --planted {}", user::quoted(name))).unwrap_or_default();
        let scenario = user::quoted(&plan.scenario);
        format!("{}{planted} --scenario {scenario} --seed {}", self.command, plan.seed)
    }

    /// The line that plays the plan in `file`; under a planted bug, if one is named.
    pub(super) fn plan(&self, file: &Path, planted: Option<&str>) -> String {
        let planted = planted.map(|name| format!(" --planted {}", user::quoted(name))).unwrap_or_default();
        format!("{}{planted} --plan {}", self.command, user::shown(file))
    }
}

/// What a command needs besides, to show again what came out.
pub(super) fn twice(failed: &Rehearsal) -> &'static str {
    if failed.takes_two() { " --twice" } else { "" }
}

const MANIFEST: &str = "Cargo.toml";

fn manifest(folder: &Path) -> Option<Table> {
    fs::read_to_string(folder.join(MANIFEST)).ok()?.parse().ok()
}

fn name_in(table: Option<&Value>) -> Option<&str> {
    table?.get("name")?.as_str()
}

/// What cargo calls the test target whose program is called `stem`, where each `-` of the target is a `_`.
fn target(manifest_dir: &Path, manifest: &Table, stem: &str) -> String {
    let listed = manifest.get("test").and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(|target| name_in(Some(target)).map(str::to_owned));
    let found = fs::read_dir(manifest_dir.join("tests")).into_iter().flatten().flatten();
    let found = found.filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()));
    listed.chain(found).find(|name| name.replace('-', "_") == stem).unwrap_or_else(|| stem.to_owned())
}

/// The name of a program without what cargo adds to it: a hyphen and sixteen hexadecimal digits.
fn without_hash(stem: &str) -> &str {
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => stem,
    }
}

/// The root of the workspace to which cargo counts whoever stands in `folder`; a package may be its own.
pub(super) fn workspace_of(folder: &Path) -> Option<PathBuf> {
    let mut above = folder.ancestors();
    let (package, own) = above.find_map(|folder| Some((folder, manifest(folder)?)))?;
    if own.contains_key("workspace") {
        return Some(package.to_owned());
    }
    let root = above.find(|root| {
        let manifest = manifest(root).unwrap_or_default();
        let workspace = manifest.get("workspace");
        workspace.is_some_and(|workspace| !excludes(workspace, package.strip_prefix(root).unwrap_or(package)))
    });
    Some(root.unwrap_or(package).to_owned())
}

fn excludes(workspace: &Value, package: &Path) -> bool {
    let excluded = workspace.get("exclude").and_then(Value::as_array).into_iter().flatten();
    excluded.filter_map(Value::as_str).any(|folder| package.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace with a member and a package beside it that it excludes.
    fn houses() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = [\"shop\"]\nexclude = [\"other\"]");
        write("shop/Cargo.toml", "[package]\nname = \"the-shop\"");
        write("shop/tests/re-hearse.rs", "");
        write("other/Cargo.toml", "[package]\nname = \"other\"");
        folder
    }

    fn command(root: &Path, stands: &str, is_release: bool) -> String {
        Tool::new(&root.join("shop"), "re_hearse", &root.join(stands), is_release).command
    }

    #[test]
    fn a_command_names_the_users_package_and_test_target() {
        let root = houses();
        let wanted = "cargo test -p the-shop --test re-hearse -- rehearse";
        assert_eq!(command(root.path(), "", false), wanted);
        assert_eq!(command(root.path(), "shop/tests", false), wanted);
    }

    #[test]
    fn a_command_builds_as_this_program_was_built() {
        let wanted = "cargo test --release -p the-shop --test re-hearse -- rehearse";
        assert_eq!(command(houses().path(), "shop", true), wanted);
    }

    #[test]
    fn a_command_names_the_manifest_only_to_who_stands_in_another_workspace() {
        let root = houses();
        let whole = root.path().join("shop/Cargo.toml");
        let wanted = format!("--manifest-path {}", whole.display());
        assert!(command(root.path(), "other", false).contains(&wanted));
        let below = Tool::new(&root.path().join("other"), "t", root.path(), false).command;
        assert!(below.contains("--manifest-path other/Cargo.toml"), "{below}");
    }

    #[test]
    fn only_what_cargo_adds_is_taken_off_a_programs_name() {
        assert_eq!(without_hash("rehearse-0123456789abcdef"), "rehearse");
        assert_eq!(without_hash("re-hearse"), "re-hearse");
    }
}
