//! What is rehearsed: the user's package, its scenarios, its plans that once failed and its planted bugs.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::draw;
use crate::mistakes;
use crate::plan::Plan;
use crate::scenario::Scenario;

use super::tool::Tool;

/// All that a runner is told.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) manifest_dir: PathBuf,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) graveyard: PathBuf,
    pub(super) planted: PathBuf,
    /// What dress rehearsals play on.
    pub(super) program: Option<PathBuf>,
    /// The patch that this program was built with.
    pub(super) patch: Option<String>,
    pub(super) tool: OnceLock<Tool>,
}

impl Project {
    /// The package in `manifest_dir`, without scenarios.
    pub(super) fn of(manifest_dir: PathBuf) -> Self {
        Self {
            graveyard: manifest_dir.join("tests/graveyard"),
            planted: manifest_dir.join("tests/planted"),
            scenarios: Vec::new(),
            program: None,
            patch: None,
            tool: OnceLock::new(),
            manifest_dir,
        }
    }

    /// How the user starts this program; found out when it is first asked for, since most rehearsals pass.
    pub(super) fn tool(&self) -> &Tool {
        self.tool.get_or_init(|| Tool::of(&self.manifest_dir))
    }

    /// The patch that this program was built with.
    pub(super) fn patch(&self) -> Option<&str> {
        self.patch.as_deref()
    }

    /// Whether there is a patch called `name`.
    pub(super) fn has_patch(&self, name: &str) -> bool {
        self.planted.join(format!("{name}.patch")).is_file()
    }

    /// The plan of a seed, of the program as it was built.
    pub(super) fn draw(&self, scenario: &Scenario, seed: u64) -> Plan {
        draw::plan(scenario, seed, self.patch())
    }

    /// What is wrong with it: a scenario is chosen, and its plans are kept, by its name.
    pub(super) fn mistake(&self) -> Option<String> {
        let names: Vec<_> = self.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        let twice = mistakes::twice(&names)?;
        Some(format!("two scenarios have the name {twice:?}: expected a name for each"))
    }

    /// The scenarios called `names`, or all if none is named.
    pub(super) fn chosen(&self, names: &[String]) -> Result<Vec<&Scenario>, String> {
        if names.is_empty() {
            return Ok(self.scenarios.iter().collect());
        }
        names.iter().map(|name| self.named(name)).collect()
    }

    /// The scenario called `name`.
    pub(super) fn named(&self, name: &str) -> Result<&Scenario, String> {
        let found = self.scenarios.iter().find(|scenario| scenario.name == name);
        let names =
            || self.scenarios.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("there is no scenario {name:?}; there are {}", names()))
    }
}
