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
        Self { folder: tempfile::tempdir().expect("there is room for a folder"), scenarios }
    }

    pub(crate) fn runs(&self, arguments: &str) -> Ran {
        let mut program = Command::new(std::env::current_exe().expect("a program knows its file"));
        program
            .args(arguments.split_whitespace())
            .env(SCENARIOS, self.scenarios)
            .env("PWD", self.folder.path());
        let output = program.output().expect("this program starts");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Ran {
            code: output.status.code().expect("it ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("there is room for a folder");
        fs::write(&file, text).expect("the file can be written");
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("the folder is there");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("the folder can be read").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }
}
