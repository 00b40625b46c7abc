//! The program that rehearses: as a test under `cargo test`, as a tool behind the word `rehearse`.

mod batch;
mod failure;
mod graveyard;
mod options;
mod planted;
mod progress;
mod single;
mod suite;
mod tool;
mod user;
mod vacuity;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::draw;
use crate::plan::Plan;
use crate::scenario::Scenario;

use options::Options;
use planted::Patch;
use tool::Tool;

/// The first argument by which the tool is told from the test.
const TOOL: &str = "rehearse";

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;

/// All scenarios, where plans that once failed are kept, and where planted bugs are.
///
/// Its [`main`](Self::main) is all of `main` in a test target with `harness = false`:
///
/// ```no_run
/// # let (calm, storm): (sim::Scenario, sim::Scenario) = unimplemented!();
/// sim::Runner::new(env!("CARGO_MANIFEST_DIR")).scenario(calm).scenario(storm).main();
/// ```
#[derive(Debug)]
pub struct Runner {
    manifest_dir: PathBuf,
    scenarios: Vec<Scenario>,
    graveyard: PathBuf,
    planted: PathBuf,
    /// The patch that this program was built with.
    patch: Option<String>,
    tool: OnceLock<Tool>,
}

impl Runner {
    /// A runner for the package in `manifest_dir`, which is `env!("CARGO_MANIFEST_DIR")`: the commands that it prints
    /// name that package. Plans that fail are kept in `tests/graveyard` there, and played again first; planted bugs are
    /// in `tests/planted`.
    #[must_use]
    pub fn new(manifest_dir: impl Into<PathBuf>) -> Self {
        let manifest_dir = manifest_dir.into();
        Self {
            graveyard: manifest_dir.join("tests/graveyard"),
            planted: manifest_dir.join("tests/planted"),
            scenarios: Vec::new(),
            patch: None,
            tool: OnceLock::new(),
            manifest_dir,
        }
    }

    /// Adds a scenario.
    #[must_use]
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenarios.push(scenario);
        self
    }

    /// Adds scenarios.
    #[must_use]
    pub fn scenarios(mut self, scenarios: impl IntoIterator<Item = Scenario>) -> Self {
        self.scenarios.extend(scenarios);
        self
    }

    /// Keeps failing plans in this folder, and plays those that are there.
    #[must_use]
    pub fn graveyard(mut self, folder: impl Into<PathBuf>) -> Self {
        self.graveyard = folder.into();
        self
    }

    /// Takes planted bugs from this folder.
    #[must_use]
    pub fn planted(mut self, folder: impl Into<PathBuf>) -> Self {
        self.planted = folder.into();
        self
    }

    /// Does what the command line asks for. This is all of `main` in a test target with `harness = false`.
    ///
    /// Without the word `rehearse` in front it behaves as a test under `cargo test`. It exits with 0 if all promises
    /// held, 1 (under `cargo test` 101) if one was broken, and 64 if the command line or a scenario's set-up is wrong.
    #[must_use]
    pub fn main(mut self) -> ExitCode {
        let mut arguments: Vec<_> = std::env::args_os().collect();
        if arguments.get(1).is_none_or(|argument| argument != TOOL) {
            return suite::run(self);
        }
        arguments.remove(1);
        let options = Options::read(arguments, self.tool().command());
        self.stand_in(&options);
        match self.rehearse(&options) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_USAGE)
            }
        }
    }

    fn rehearse(&self, options: &Options) -> Result<ExitCode, String> {
        let held = match options {
            Options { list: true, .. } => self.list().map(|()| true),
            Options { hunt: true, .. } => planted::hunt_here(self, options).map(|()| true),
            Options { planted: Some(_), as_planted: None, .. } if options.is_single() => {
                return planted::play(self, options);
            }
            Options { planted: Some(_), as_planted: None, .. } => planted::find_all(self, options),
            _ if options.is_single() => single::run(self, options),
            _ => batch::run(self, &self.chosen(options)?, options),
        };
        held.map(|held| ExitCode::from(u8::from(!held)))
    }

    /// In a patched program: speaks for the clean one, in whose name the user started it.
    fn stand_in(&mut self, options: &Options) {
        self.patch.clone_from(&options.as_planted);
        if let Some(package) = &options.for_package {
            self.manifest_dir.clone_from(package);
            self.tool = OnceLock::new();
        }
        if let Some(folder) = &options.keep_in {
            self.graveyard.clone_from(folder);
        }
    }

    /// The plan of a seed, of the program as it was built.
    fn draw(&self, scenario: &Scenario, seed: u64) -> Plan {
        draw::plan(scenario, seed, self.patch())
    }

    /// The patch that this program was built with.
    fn patch(&self) -> Option<&str> {
        self.patch.as_deref()
    }

    /// Whether there is a patch called `name`.
    fn has_patch(&self, name: &str) -> bool {
        self.planted.join(name).with_extension("patch").is_file()
    }

    fn tool(&self) -> &Tool {
        self.tool.get_or_init(|| Tool::of(&self.manifest_dir))
    }

    fn list(&self) -> Result<(), String> {
        let patches = Patch::all(&self.planted)?;
        for scenario in &self.scenarios {
            println!("{:<24} {}", scenario.name, scenario.about);
            for patch in patches.iter().filter(|patch| patch.scenarios.contains(&scenario.name)) {
                println!("{:<24}   planted {}", "", patch.name);
            }
        }
        Ok(())
    }

    fn chosen(&self, options: &Options) -> Result<Vec<&Scenario>, String> {
        if options.scenario.is_empty() {
            return Ok(self.scenarios.iter().collect());
        }
        options.scenario.iter().map(|name| self.named(name)).collect()
    }

    fn named(&self, name: &str) -> Result<&Scenario, String> {
        let found = self.scenarios.iter().find(|scenario| scenario.name == name);
        let names =
            || self.scenarios.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("there is no scenario {name:?}; there are {}", names()))
    }
}
