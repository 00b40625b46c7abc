//! Builds the user's program with a patch, in a copy of the workspace and with a target folder of its own.
//!
//! Workshops beside each other build at the same time: most of a build is the work of one core.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::copy::{Copy, SOURCE};
use super::patch::Patch;
use super::{deps, folder};
use crate::runner::tool::Tool;

/// Where patched programs are built. All that are built here share one target folder, so that each costs what its patch
/// touches.
#[derive(Debug)]
pub(super) struct Workshop {
    copy: Copy,
    /// Where cargo builds what is in the copy.
    target: PathBuf,
    /// What workshops beside each other have in common: where they are, programs, plans.
    home: PathBuf,
    manifest_dir: PathBuf,
    tool: Tool,
    /// Held as long as a workshop is there: a second run would patch the same copies.
    _lock: Arc<File>,
}

/// The folder, in that of the first workshop, of those beside it.
const BESIDE: &str = "beside";

/// The name of the folder that cargo builds in.
const TARGET: &str = "target";

/// What kept a patched program from being built.
#[derive(Debug)]
pub(super) struct NotBuilt {
    /// In two or three words.
    pub(super) what: &'static str,
    /// In the words of git or cargo.
    pub(super) why: String,
}

/// What came of building a patched program, and how long that took.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) program: Result<PathBuf, NotBuilt>,
    pub(super) took: Duration,
}

impl Built {
    #[expect(clippy::disallowed_methods, reason = "how long it takes is about the real world")]
    pub(super) fn of(workshop: &Workshop, patch: &Patch) -> Self {
        let begun = Instant::now();
        Self { program: workshop.build(patch), took: begun.elapsed() }
    }
}

impl Workshop {
    /// Prepares to build the package in `manifest_dir`.
    ///
    /// # Errors
    /// When cargo knows no package there, or another run has its workshops open.
    pub(super) fn open(manifest_dir: &Path, tool: &Tool) -> Result<Self, String> {
        let workspace = workspace(manifest_dir)?;
        let home = workspace.target_directory.join("planted");
        let lock = locked(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        // A run that was cut off may have left some.
        folder::remove(&home.join(BESIDE))?;
        let target = home.join(TARGET);
        let own = workspace.packages.into_iter().map(|package| package.name).collect();
        deps::bring(&workspace.target_directory, &target, &own)?;
        let copy = Copy {
            from: workspace.workspace_root,
            to: home.join(SOURCE),
            target: workspace.target_directory,
        };
        let manifest_dir = manifest_dir.to_owned();
        Ok(Self { copy, target, home, manifest_dir, tool: tool.clone(), _lock: Arc::new(lock) })
    }

    /// This workshop, and beside it as many more as it takes to have `count`. They begin as copies of this one, in which the
    /// program is built as it is, so that what it depends on is built once; and they go when they are closed.
    pub(super) fn with_others(self, count: usize) -> Result<Vec<Self>, String> {
        let mut workshops = vec![self];
        if count > 1 {
            workshops[0].copy.refresh()?;
            workshops[0].compile()?;
        }
        for number in 2..=count {
            let beside = workshops[0].beside(number)?;
            workshops.push(beside);
        }
        Ok(workshops)
    }

    fn beside(&self, number: usize) -> Result<Self, String> {
        let place = self.home.join(BESIDE).join(number.to_string());
        let copy = Copy { to: place.join(SOURCE), ..self.copy.clone() };
        let target = place.join(TARGET);
        folder::copy(&self.copy.to, &copy.to, &|_| true)?;
        // What the compiler keeps for incremental builds is of use only in the folder in which it ran.
        folder::copy(&self.target, &target, &|path| !path.ends_with("incremental"))?;
        let (home, manifest_dir, tool) = (self.home.clone(), self.manifest_dir.clone(), self.tool.clone());
        Ok(Self { copy, target, home, manifest_dir, tool, _lock: Arc::clone(&self._lock) })
    }

    /// The options that tell the program with the patch `name` in whose place it runs: it names the user's own package,
    /// and keeps failing plans apart, for once the patch is off they prove nothing.
    pub(super) fn tells(&self, name: &str) -> [OsString; 6] {
        let (package, plans) = (self.manifest_dir.clone(), self.home.join("plans"));
        let [patch, for_package, keep_in] =
            ["--as-planted", "--for-package", "--keep-in"].map(OsString::from);
        [patch, name.into(), for_package, package.into(), keep_in, plans.into()]
    }

    /// Builds the program with `patch`, and nothing else that differs from the workspace; where it is. It stays there
    /// when the next one is built.
    pub(super) fn build(&self, patch: &Patch) -> Result<PathBuf, NotBuilt> {
        self.copy.refresh().map_err(|why| NotBuilt { what: "NOT COPIED", why })?;
        self.copy.apply(&patch.file).map_err(|why| NotBuilt { what: "DOES NOT APPLY", why })?;
        let program = self.compile().map_err(|why| NotBuilt { what: "DOES NOT BUILD", why })?;
        self.keep(&program, &patch.name)
            .map_err(|error| NotBuilt { what: "NOT KEPT", why: error.to_string() })
    }

    /// A folder for each patch, so that the program has the name that it tells its users.
    fn keep(&self, program: &Path, name: &str) -> io::Result<PathBuf> {
        let folder = self.home.join("programs").join(name);
        fs::create_dir_all(&folder)?;
        let kept = folder.join(program.file_name().unwrap_or_default());
        // Moved: a copy would be some tens of megabytes more to write for each patch, and cargo makes a new one anyway.
        fs::rename(program, &kept)?;
        Ok(kept)
    }

    /// Takes away the program that was built with `patch`.
    pub(super) fn forget(&self, patch: &Patch) {
        // What is left is in nobody's way.
        fs::remove_dir_all(self.home.join("programs").join(&patch.name)).ok();
    }

    fn compile(&self) -> Result<PathBuf, String> {
        let mut cargo = Command::new(cargo());
        cargo.args(["test", "--no-run", "--quiet", "--message-format", "json-render-diagnostics"]);
        cargo.args(["--package", &self.tool.package, "--test", &self.tool.target]);
        cargo.current_dir(&self.copy.to).env("CARGO_TARGET_DIR", &self.target);
        // Nobody debugs these programs, and without the tables for it they are built sooner.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TERM_COLOR", "never");
        let messages = run(&mut cargo)?;
        let program = messages.lines().rev().find_map(|line| program_in(line, &self.tool.target));
        program.ok_or_else(|| format!("cargo built no test {}", self.tool.target))
    }

    /// Takes the last patch out of the copy; a workshop beside the first is taken down.
    pub(super) fn close(&self) -> Result<(), String> {
        match self.target.parent().filter(|place| *place != self.home) {
            Some(place) => folder::remove(place),
            None => self.copy.refresh(),
        }
    }
}

/// What is asked of cargo's metadata.
#[derive(Debug, Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

fn workspace(manifest_dir: &Path) -> Result<Workspace, String> {
    let mut cargo = Command::new(cargo());
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(manifest_dir);
    serde_json::from_str(&run(&mut cargo)?).map_err(|error| format!("cargo metadata: {error}"))
}

/// The cargo that runs this test, or the one on the path.
#[expect(
    clippy::disallowed_methods,
    reason = "this is about the user who runs the tool, outside of any rehearsal"
)]
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn locked(home: &Path) -> Result<File, String> {
    fs::create_dir_all(home).map_err(|error| error.to_string())?;
    let lock = File::create(home.join("lock")).map_err(|error| error.to_string())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err("another --planted is under way here".to_owned()),
        Err(fs::TryLockError::Error(error)) => Err(error.to_string()),
    }
}

/// What `command` prints; if it fails, what it complains about.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name} could not be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if complaint.is_empty() { Err(output.status.to_string()) } else { Err(complaint) }
}

/// The program of the test `target`, if this message of cargo's tells that it is built.
fn program_in(message: &str, target: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let built = message.get("target")?;
    let is_test = built.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    let is_it = message.get("reason")? == "compiler-artifact" && built.get("name")? == target;
    if is_test && is_it { message.get("executable")?.as_str().map(PathBuf::from) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_test_is_told_from_that_of_a_binary_with_its_name() {
        let message = |kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"sim"}},"executable":"/t/sim-1"}}"#
            )
        };
        assert_eq!(program_in(&message("test"), "sim"), Some(PathBuf::from("/t/sim-1")));
        assert_eq!(program_in(&message("bin"), "sim"), None);
        assert_eq!(program_in(&message("test"), "other"), None);
        assert_eq!(program_in("Compiling sim", "sim"), None);
    }

    #[test]
    fn a_second_workshop_at_the_same_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = locked(folder.path()).unwrap();
        assert!(locked(folder.path()).unwrap_err().contains("under way"));
        drop(first);
        locked(folder.path()).unwrap();
    }
}
