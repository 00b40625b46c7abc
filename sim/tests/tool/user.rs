//! A user who stands in a folder, and starts the program there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The variable by which this program knows that it is the user's: it names the scenarios.
pub(crate) const SCENARIOS: &str = "TOOL_SCENARIOS";

pub(crate) struct User {
    folder: tempfile::TempDir,
    scenarios: &'static str,
}

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl User {
    /// One whose program has these scenarios.
    pub(crate) fn new(scenarios: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), scenarios }
    }

    pub(crate) fn runs(&self, arguments: &str) -> Ran {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args(arguments.split_whitespace())
            .env(SCENARIOS, self.scenarios)
            .env("PWD", self.folder.path());
        let output = program.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
