//! What is said of a wrong value.

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::ConfigError;
use super::flags::Flags;
use super::source::Source;
use super::sources::{Found, one_line};

/// Whether `--help` or `--version` was asked for.
pub(super) fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// One line that names the key, the value, what was expected and, where it did not come from `on_command_line`, the
/// source.
pub(super) fn explain(
    error: &clap::Error,
    on_command_line: Option<&clap::Error>,
    flags: &Flags,
    found: &Found,
) -> ConfigError {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = one_line(paragraph.trim_start_matches("error: "));
    let help = if error.kind() == ErrorKind::UnknownArgument { known(error) } else { String::new() };
    let is_of_flag = on_command_line.is_some_and(|other| other.render().to_string() == text);
    let source = if is_of_flag { None } else { source(error, flags, found) };
    ConfigError::Wrong(line + &help + &source.unwrap_or_default())
}

/// Which arguments there are, or the one that an unknown one is nearly.
fn known(error: &clap::Error) -> String {
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(near)) => format!(": expected {near}, or another that --help shows"),
        _ => ": expected one of those that --help shows".to_owned(),
    }
}

fn source(error: &clap::Error, flags: &Flags, found: &Found) -> Option<String> {
    let ContextValue::String(argument) = error.get(ContextKind::InvalidArg)? else { return None };
    let key = argument.trim_start_matches('-').split([' ', '=']).next()?;
    let flag = flags.keys().find(|flag| flag.get_long() == Some(key)).map(Arg::get_id)?;
    Some(match &found.get(flag.as_str())?.1 {
        Source::Variable(name) => format!(" (in {name})"),
        Source::File(file) => format!(" (in {})", file.display()),
    })
}
