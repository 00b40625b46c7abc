//! Where configuration comes from besides flags, and what is said of what is wrong with it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Config, ConfigError};

/// The value of a variable. An empty one is none, as it comes of `NODE_PEER=${PEERS}` where nothing is set.
pub(super) fn variable(name: impl AsRef<OsStr>) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Keeps an empty variable from the parser.
pub(super) fn without_empty_variable(argument: clap::Arg) -> clap::Arg {
    match argument.get_env() {
        Some(name) if std::env::var_os(name).is_some_and(|value| value.is_empty()) => argument.env(None),
        _ => argument,
    }
}

/// Makes the values in `file` the defaults, so that all sources go through the same parser.
pub(super) fn with_defaults_of(command: clap::Command, file: &Path) -> Result<clap::Command, ConfigError> {
    let wrong = |text: String| ConfigError::Wrong(format!("--config {}: {text}", file.display()));
    let text =
        std::fs::read_to_string(file).map_err(|error| wrong(format!("{error}: expected a TOML file")))?;
    let table: BTreeMap<String, toml::Value> =
        toml::from_str(&text).map_err(|error| wrong(one_line(&error.to_string())))?;
    let mut command = command;
    for (key, value) in table {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&key));
        let known = argument.filter(|argument| !matches!(argument.get_id().as_str(), "config" | "check"));
        let id = known.map(|argument| argument.get_id().clone());
        let id = id.ok_or_else(|| wrong(format!("unknown key {key}: expected one of {}", keys())))?;
        let values = match value {
            toml::Value::Array(items) if matches!(key.as_str(), "services" | "peer") => {
                items.into_iter().map(|item| plain(&key, item)).collect()
            }
            value => plain(&key, value).map(|value| vec![value]),
        };
        let values = values.map_err(wrong)?;
        command = command.mut_arg(id, |argument| argument.default_values(values));
    }
    Ok(command)
}

fn keys() -> String {
    let command = Config::command();
    let keys = command.get_arguments().filter_map(clap::Arg::get_long);
    let keys: Vec<_> = keys.filter(|key| !matches!(*key, "config" | "check" | "help" | "version")).collect();
    keys.join(", ")
}

/// A value of the file as a flag would give it.
fn plain(key: &str, value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        other => {
            Err(format!("{key} has a value of type {}: expected a string or a number", other.type_str()))
        }
    }
}

/// One line that names the key, the value and what was expected.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString], file: Option<&Path>) -> ConfigError {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ConfigError::Help(text);
    }
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = one_line(paragraph.trim_start_matches("error: "));
    let help = if error.kind() == ErrorKind::UnknownArgument {
        ": expected one of those that --help shows"
    } else {
        ""
    };
    ConfigError::Wrong(line + help + &source(error, arguments, file))
}

/// Where a wrong value came from, if it was not on the command line.
fn source(error: &clap::Error, arguments: &[OsString], file: Option<&Path>) -> String {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return String::new();
    };
    let key = argument.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    let flag = format!("--{key}");
    if arguments.iter().any(|given| given.to_string_lossy().split('=').next() == Some(&flag)) {
        return String::new();
    }
    let name = format!("NODE_{}", key.replace('-', "_").to_uppercase());
    match file {
        _ if variable(&name).is_some() => format!(" (in {name})"),
        Some(file) => format!(" (in {})", file.display()),
        None if key == "log" => " (in RUST_LOG)".to_owned(),
        None => String::new(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
