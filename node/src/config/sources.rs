//! Where values come from besides flags: the environment, and the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};

use super::error::ConfigError;
use super::flags::{Flags, is_list, is_switch};
use super::source::Source;

/// The id of the flag for policies.
const POLICIES: &str = "policies";

/// The environment, or what stands for it: the value of a variable, by its name.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What the sources besides flags say, by the id of the flag.
pub(super) type Found = BTreeMap<String, (Vec<OsString>, Source)>;

/// What the sources besides flags say of policies, from the weakest: they are told apart call by call, so that one source
/// does not override another as a whole.
pub(super) type FoundPolicies = Vec<(String, Source)>;

/// What the environment says and, where it does not, the file. `RUST_LOG` comes last.
pub(super) fn find(
    flags: &Flags,
    variables: Variables<'_>,
    file: Option<&Path>,
) -> Result<(Found, FoundPolicies), ConfigError> {
    let (mut found, mut policies) = (Found::new(), FoundPolicies::new());
    if let Some(value) = value(variables, "RUST_LOG") {
        found.insert("log".to_owned(), (vec![value], Source::Variable("RUST_LOG".to_owned())));
    }
    if let Some(file) = file {
        for (id, values) in read(flags, file)? {
            let source = Source::File(file.to_owned());
            if id == POLICIES {
                let values = values.iter().flat_map(|value| listed(value));
                policies.extend(values.map(|value| (value.to_owned(), source.clone())));
            } else {
                let values = values.into_iter().map(OsString::from).collect();
                found.insert(id, (values, source));
            }
        }
    }
    for flag in flags.keys() {
        let variable = flags.variable(flag);
        let Some(value) = value(variables, &variable) else { continue };
        let source = Source::Variable(variable);
        if flag.get_id() == POLICIES {
            let value = value.to_string_lossy();
            policies.extend(listed(&value).map(|value| (value.to_owned(), source.clone())));
        } else {
            found.insert(flag.get_id().to_string(), (vec![value], source));
        }
    }
    Ok((found, policies))
}

/// What is listed with semicolons. One that ends the list is none between two.
fn listed(values: &str) -> impl Iterator<Item = &str> {
    let values = values.trim_end();
    values.strip_suffix(';').unwrap_or(values).split(';')
}

/// The value of a variable. An empty one is none, as it comes of `NODE_PEER=${PEERS}` where nothing is set.
pub(super) fn value(variables: Variables<'_>, name: &str) -> Option<OsString> {
    variables(name).filter(|value| !value.is_empty())
}

/// Makes what was found the defaults, so that all sources go through the same parser.
pub(super) fn with_defaults(command: Command, found: &Found) -> Command {
    found.iter().fold(command, |command, (id, (values, _))| {
        let values = values.iter().map(clap::builder::OsStr::from);
        // A flag that must be given has been.
        command.mut_arg(id, |flag| flag.default_values(values).required(false))
    })
}

/// The values in `file`, by the id of the flag.
fn read(flags: &Flags, file: &Path) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let wrong = |text: String| ConfigError::Wrong(format!("--config {}: {text}", file.display()));
    let text =
        std::fs::read_to_string(file).map_err(|error| wrong(format!("{error}: expected a TOML file")))?;
    let table: BTreeMap<String, toml::Value> =
        toml::from_str(&text).map_err(|error| wrong(one_line(&error.to_string())))?;
    let values = table.into_iter().map(|(key, value)| {
        let flag = flags.keys().find(|flag| flag.get_long() == Some(&key));
        let flag = flag.ok_or_else(|| format!("unknown key {key}: expected one of {}", names(flags)))?;
        Ok((flag.get_id().to_string(), plain_values(flag, &key, value)?))
    });
    values.collect::<Result<_, _>>().map_err(wrong)
}

fn names(flags: &Flags) -> String {
    flags.keys().filter_map(Arg::get_long).collect::<Vec<_>>().join(", ")
}

fn plain_values(flag: &Arg, key: &str, value: toml::Value) -> Result<Vec<String>, String> {
    match value {
        toml::Value::Array(items) if is_list(flag) => {
            items.into_iter().map(|item| plain(key, item)).collect()
        }
        toml::Value::Boolean(is_on) if is_switch(flag) => Ok(vec![is_on.to_string()]),
        toml::Value::Table(table) if flag.get_id() == POLICIES => {
            let mut flat = Vec::new();
            flatten(table, "", &mut flat)?;
            Ok(flat)
        }
        value => Ok(vec![plain(key, value)?]),
    }
}

/// The tables `[policy]`, `[policy.SERVICE]` and `[policy.SERVICE.METHOD]` as flags would give them.
fn flatten(table: toml::Table, scope: &str, flat: &mut Vec<String>) -> Result<(), String> {
    for (key, value) in table {
        let name = format!("{scope}{key}");
        match value {
            toml::Value::Table(inner) => flatten(inner, &format!("{name}."), flat)?,
            toml::Value::Boolean(is_on) => flat.push(format!("{name}={is_on}")),
            toml::Value::Array(items) => {
                let items =
                    items.into_iter().map(|item| plain(&name, item)).collect::<Result<Vec<_>, _>>()?;
                flat.push(format!("{name}={}", items.join(",")));
            }
            value => flat.push(format!("{name}={}", plain(&name, value)?)),
        }
    }
    Ok(())
}

/// A value of the file as a flag would give it.
fn plain(key: &str, value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        other => {
            Err(format!("{key} has a value of type {}: expected a string or a number", other.type_str()))
        }
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
