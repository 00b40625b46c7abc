//! The program that rehearses: as a test under `cargo test`, as a tool behind the word `rehearse`.

mod agreement;
mod batch;
mod dressed;
mod failure;
mod graveyard;
mod options;
mod planted;
mod progress;
mod project;
mod single;
mod suite;
mod tool;
mod user;
mod vacuity;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::dress::{GUARD, become_program};
use crate::scenario::Scenario;

use options::Options;
use planted::Patch;
use project::Project;
use suite::EXIT_USAGE;
use tool::TOOL;

/// All scenarios, where plans that once failed are kept, and where planted bugs are.
///
/// Its [`main`](Self::main) is all of `main` in a test target with `harness = false`:
///
/// ```no_run
/// # let (calm, storm): (sim::Scenario, sim::Scenario) = unimplemented!();
/// sim::Runner::new(env!("CARGO_MANIFEST_DIR")).scenario(calm).scenario(storm).main();
/// ```
#[derive(Debug)]
pub struct Runner(Project);

impl Runner {
    /// A runner for the package in `manifest_dir`, which is `env!("CARGO_MANIFEST_DIR")`: the commands that it prints
    /// name that package. Plans that fail are kept in `tests/graveyard` there, and played again first; planted bugs are
    /// in `tests/planted`.
    #[must_use]
    pub fn new(manifest_dir: impl Into<PathBuf>) -> Self {
        Self(Project::of(manifest_dir.into()))
    }

    /// Adds a scenario.
    #[must_use]
    pub fn scenario(self, scenario: impl Into<Scenario>) -> Self {
        self.scenarios([scenario])
    }

    /// Adds scenarios.
    #[must_use]
    pub fn scenarios(mut self, scenarios: impl IntoIterator<Item: Into<Scenario>>) -> Self {
        self.0.scenarios.extend(scenarios.into_iter().map(Into::into));
        self
    }

    /// Keeps failing plans in this folder, and plays those that are there.
    #[must_use]
    pub fn graveyard(mut self, folder: impl Into<PathBuf>) -> Self {
        self.0.graveyard = folder.into();
        self
    }

    /// Plays plans on processes of this program, too, where `--dress` asks for it: `env!("CARGO_BIN_EXE_NAME")`.
    #[must_use]
    pub fn dress(mut self, program: impl Into<PathBuf>) -> Self {
        self.0.program = Some(program.into());
        self
    }

    /// Takes planted bugs from this folder.
    #[must_use]
    pub fn planted(mut self, folder: impl Into<PathBuf>) -> Self {
        self.0.planted = folder.into();
        self
    }

    /// Does what the command line asks for. This is all of `main` in a test target with `harness = false`.
    ///
    /// Without the word `rehearse` in front it behaves as a test under `cargo test`. It exits with 0 if all promises
    /// held, 1 (under `cargo test` 101) if one was broken, and 64 if the command line or a scenario's set-up is wrong.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let mut arguments: Vec<_> = std::env::args_os().collect();
        if arguments.get(1).is_some_and(|argument| argument == GUARD) {
            eprintln!("error: {}", become_program(arguments.into_iter().skip(2)));
            return ExitCode::from(EXIT_USAGE);
        }
        if let Some(mistake) = self.0.mistake() {
            eprintln!("error: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
        if arguments.get(1).is_none_or(|argument| argument != TOOL) {
            return suite::run(self.0);
        }
        arguments.remove(1);
        let options = Options::read(arguments, self.0.tool().command());
        match rehearse(&stand_in(self.0, &options), &options) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_USAGE)
            }
        }
    }
}

/// The project that the program speaks for: a patched one for the clean one, in whose name the user started it.
fn stand_in(mut project: Project, options: &Options) -> Project {
    if let Some(package) = &options.for_package {
        project = Project { manifest_dir: package.clone(), tool: std::sync::OnceLock::new(), ..project };
    }
    if let Some(folder) = &options.keep_in {
        project.graveyard.clone_from(folder);
    }
    Project { patch: options.as_planted.clone(), ..project }
}

fn rehearse(project: &Project, options: &Options) -> Result<ExitCode, String> {
    let is_planted_elsewhere = options.planted.is_some() && options.as_planted.is_none();
    let held = match options {
        Options { list: true, .. } => list(project).map(|()| true),
        Options { hunt: true, .. } => planted::hunt_here(project, options).map(|()| true),
        _ if is_planted_elsewhere && options.is_single() => return planted::play(project, options),
        _ if is_planted_elsewhere => planted::find_all(project, options),
        Options { dress: true, .. } => dressed::run(project, options),
        _ if options.is_single() => single::run(project, options),
        _ => batch::run(project, &project.chosen(&options.scenario)?, options),
    };
    held.map(|held| ExitCode::from(u8::from(!held)))
}

fn list(project: &Project) -> Result<(), String> {
    let patches = Patch::all(&project.planted)?;
    for scenario in &project.scenarios {
        println!("{:<24} {}", scenario.name, scenario.about);
        for patch in patches.iter().filter(|patch| patch.scenarios.contains(&scenario.name)) {
            println!("{:<24}   planted {}", "", patch.name);
        }
    }
    Ok(())
}
