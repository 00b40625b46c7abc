//! The program that rehearses: as a test under `cargo test`, as a tool under `cargo sim`.

mod batch;
mod failure;
mod mutants;
mod options;
mod progress;
mod single;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::scenario::Scenario;

use options::Options;

/// The first argument by which the tool is told from the test.
const TOOL: &str = "rehearse";

/// All scenarios, and where plans that once failed are kept.
#[derive(Debug)]
pub struct Runner {
    scenarios: Vec<Scenario>,
    graveyard: PathBuf,
}

impl Runner {
    /// Rehearses `scenarios`. Failing plans are kept in the folder `graveyard`, and replayed first.
    #[must_use]
    pub fn new(scenarios: Vec<Scenario>, graveyard: impl Into<PathBuf>) -> Self {
        Self { scenarios, graveyard: graveyard.into() }
    }

    /// Does what the command line asks for. This is all of `main` in a test target with `harness = false`.
    ///
    /// Without the word `rehearse` in front it behaves as a test under `cargo test`.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let mut arguments: Vec<_> = std::env::args_os().collect();
        if arguments.get(1).is_none_or(|argument| argument != TOOL) {
            return suite::run(self);
        }
        arguments.remove(1);
        let options = Options::read(arguments);
        match self.rehearse(&options) {
            Ok(all_is_well) => ExitCode::from(u8::from(!all_is_well)),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_USAGE)
            }
        }
    }

    /// Whether no promise was broken.
    fn rehearse(&self, options: &Options) -> Result<bool, String> {
        if options.list {
            self.list();
            return Ok(true);
        }
        self.check_mutant(options)?;
        if options.is_single() {
            return single::run(self, options);
        }
        let chosen = self.chosen(options)?;
        if options.mutants {
            return Ok(mutants::find_all(&chosen, options));
        }
        batch::run(self, &chosen, options)
    }

    /// Where a bug cannot be planted, a rehearsal with it would pass for no good reason.
    fn check_mutant(&self, options: &Options) -> Result<(), String> {
        if !cfg!(debug_assertions) && (options.mutants || options.mutant.is_some()) {
            return Err(
                "planted bugs exist in debug builds only: expected cargo test --test sim -- rehearse \
                        in place of cargo sim"
                    .to_owned(),
            );
        }
        let known: Vec<_> = self.scenarios.iter().flat_map(|scenario| &scenario.planted).collect();
        match &options.mutant {
            Some(mutant) if !known.contains(&mutant) => {
                Err(format!("there is no planted bug {mutant:?}; --list names them"))
            }
            _ => Ok(()),
        }
    }

    fn list(&self) {
        for scenario in &self.scenarios {
            println!("{:<24} {}", scenario.name, scenario.about);
            for mutant in &scenario.planted {
                println!("{:<24}   mutant {mutant}", "");
            }
        }
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

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
