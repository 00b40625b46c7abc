//! A planted bug: a patch that makes a mistake, and says in its first lines which scenario is meant to find it.
//!
//! `# scenario: crash` names one, or several with commas between; `# seeds: 500` says how many seeds it may take, where
//! the usual number is too few, and `# seeds: 0` that only a plan of the graveyard shows it. All other lines before the
//! first `diff` are for the reader.

use std::fs;
use std::path::{Path, PathBuf};

use crate::runner::options::Options;
use crate::runner::project::Project;

/// How the name of a patch's file ends.
const EXTENSION: &str = "patch";

/// One patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    /// The name of its file, without the ending.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    /// The scenarios that are meant to find it.
    pub(crate) scenarios: Vec<String>,
    /// How many seeds of each that may take, if the patch says so.
    pub(crate) seeds: Option<u64>,
}

impl Patch {
    /// The patches in `folder`, in the order of their names. There are none where there is no folder.
    ///
    /// # Errors
    /// When one cannot be read, or does not say what it must; the error names it.
    pub(crate) fn all(folder: &Path) -> Result<Vec<Self>, String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == EXTENSION));
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string());
        let patch = text.and_then(|text| Self::parse(file, &text));
        patch.map_err(|error| format!("{}: {error}", file.display()))
    }

    fn parse(file: &Path, text: &str) -> Result<Self, String> {
        let mut scenarios = Vec::new();
        let mut seeds = None;
        for line in text.lines().take_while(|line| !line.starts_with("diff ") && !line.starts_with("--- ")) {
            let Some((key, value)) = line.trim_start_matches('#').split_once(':') else { continue };
            match key.trim() {
                "scenario" => scenarios.extend(value.split(',').map(|name| name.trim().to_owned())),
                "seeds" => seeds = Some(number(value.trim())?),
                _ => {}
            }
        }
        scenarios.retain(|name| !name.is_empty());
        if scenarios.is_empty() {
            return Err("expected a line such as `# scenario: crash` before the first diff".to_owned());
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, file: file.to_owned(), scenarios, seeds })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`# seeds: {text}` is no number"))
}

/// The patches that are meant to be found in one of the scenarios that the options name, or in any if they name none; of these
/// the one, or the part, that they ask for.
pub(super) fn chosen(project: &Project, options: &Options) -> Result<Vec<Patch>, String> {
    let scenarios = &options.scenario;
    let mut patches = Patch::all(&project.planted)?;
    for patch in &mut patches {
        for scenario in &patch.scenarios {
            project.named(scenario).map_err(|error| format!("{}: {error}", patch.file.display()))?;
        }
        let is_chosen = |name: &String| scenarios.is_empty() || scenarios.contains(name);
        patch.scenarios.retain(is_chosen);
    }
    patches.retain(|patch| !patch.scenarios.is_empty());
    match options.planted_name() {
        Some(name) => Ok(vec![named(patches, name)?]),
        None if patches.is_empty() => Err(format!("there is no patch in {}", project.planted.display())),
        None => {
            let mut nth = 0..;
            patches.retain(|_| nth.next().zip(options.shard).is_none_or(|(nth, shard)| shard.has(nth)));
            Ok(patches)
        }
    }
}

/// The patch called `name`.
pub(super) fn named(patches: Vec<Patch>, name: &str) -> Result<Patch, String> {
    let names = patches.iter().map(|patch| patch.name.clone()).collect::<Vec<_>>().join(", ");
    let found = patches.into_iter().find(|patch| patch.name == name);
    found.ok_or_else(|| format!("there is no planted bug {name:?} here; there are {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Patch, String> {
        Patch::parse(Path::new("tests/planted/late.patch"), text)
    }

    #[test]
    fn the_first_lines_of_a_patch_name_its_scenarios() {
        let patch = parse("# scenario: crash, storm\n# seeds: 500\n# Why: it is late.\ndiff --git a/x b/x\n");
        let patch = patch.unwrap();
        assert_eq!((patch.name.as_str(), patch.seeds), ("late", Some(500)));
        assert_eq!(patch.scenarios, ["crash", "storm"]);
    }

    #[test]
    fn what_a_patch_changes_names_no_scenario() {
        let error = parse("# It is late.\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n+# scenario: crash\n").unwrap_err();
        assert!(error.contains("# scenario: crash"), "{error}");
    }

    #[test]
    fn a_patch_that_says_nothing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mute.patch"), "diff --git a/x b/x\n").unwrap();
        let error = Patch::all(folder.path()).unwrap_err();
        assert!(error.contains("mute.patch"), "{error}");
    }

    #[test]
    fn where_there_is_no_folder_there_is_no_patch() {
        assert_eq!(Patch::all(Path::new("/nowhere")), Ok(Vec::new()));
    }

    #[test]
    fn an_unknown_bug_is_refused_with_the_names_of_those_there_are() {
        let error = named(Vec::new(), "late").unwrap_err();
        assert!(error.contains("\"late\""), "{error}");
    }
}
