//! From what a program was started with to its configuration.

use std::borrow::Borrow;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches as _};

use super::error::ConfigError;
use super::explain::{explain, is_help};
use super::explained::explained;
use super::flags::{Besides, Flags, is_list, is_switch};
use super::keys::{Config, Defaults};
use super::policies::{Known, PolicyConfig, known, merged};
use super::sources::{Found, FoundPolicies, Variables, find, value, with_defaults};
use crate::app::App;

/// What a program was started with. Nothing else is looked at.
pub(crate) struct Program<'a> {
    pub(crate) name: &'static str,
    /// The first is the program.
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variable: Variables<'a>,
    /// What there is of the machine; none in a rehearsal, which is the same on all of them.
    pub(crate) defaults: Option<Defaults>,
}

/// What was read of it.
pub(crate) struct Read<A> {
    pub(crate) config: Config,
    pub(crate) app: A,
    /// All keys, as a file for `--config`.
    pub(crate) printed: String,
    /// Whether `--check` was given.
    pub(crate) is_check: bool,
    /// What `--explain` asks for, if it was given.
    pub(crate) explained: Option<String>,
}

impl Config {
    /// Reads the configuration of a node that hosts services of `app` from `flags` alone, the first of which is not
    /// the program. The environment is not looked at, and a file only if `--config` is among the flags. Where nothing
    /// is said there are two workers, for there are several in production.
    ///
    /// # Errors
    ///
    /// If a key or a value is wrong, a needed one is missing, or help was asked for.
    pub fn from_flags(app: &App, flags: &[impl AsRef<str>]) -> Result<Self, ConfigError> {
        let flags = flags.iter().map(|flag| flag.as_ref().into());
        let arguments = std::iter::once("node".into()).chain(flags).collect();
        let program = Program { name: "node", arguments, variable: &|_| None, defaults: None };
        program.read(|()| app).map(|read| read.config)
    }
}

impl Program<'_> {
    /// Reads the configuration, and makes the app of the program's own flags on the way: the services have their names
    /// from it.
    pub(crate) fn read<Own, A>(&self, make: impl FnOnce(Own) -> A) -> Result<Read<A>, ConfigError>
    where
        Own: clap::Args,
        A: Borrow<App>,
    {
        let flags = Flags::of::<Own>(self.name, self.defaults);
        let (found, policies) = find(&flags, self.variable, self.file(&flags.command).as_deref())?;
        let full = with_defaults(flags.command.clone(), &found);
        let wrong = |error: &Error| explain(error, self.parse(&flags.command).err().as_ref(), &flags, &found);
        let own = match self.parse(&full).and_then(|matches| Own::from_arg_matches(&matches)) {
            Ok(own) => own,
            Err(error) if is_help(&error) => return Err(self.help::<Own, A>(&flags, full, make)),
            Err(error) => return Err(wrong(&error)),
        };
        let app = make(own);
        let known = known(app.borrow().services());
        let named = flags.clone().with_services(&known);
        let matches = self.parse(&with_defaults(named.command, &found));
        let parsed = matches.and_then(|matches| {
            let (config, besides) =
                (Config::from_arg_matches(&matches)?, Besides::from_arg_matches(&matches)?);
            Ok((config, besides, matches))
        });
        let (mut config, besides, matches) = parsed.map_err(|error| wrong(&error))?;
        let weaker = of_known(&policies, &known)?;
        config.policies = merged(weaker.into_iter().chain(config.policies)).map_err(ConfigError::Wrong)?;
        config.check_together(app.borrow().services())?;
        let printed = format!("{config}\n{}", print_own(&flags, &matches));
        let explain = besides.explain.map(|call| {
            let deadline = origin("deadline", &matches, &found);
            explained(&config, app.borrow().services(), &call, deadline)
        });
        Ok(Read { explained: explain.transpose()?, config, app, printed, is_check: besides.check })
    }

    fn parse(&self, command: &Command) -> Result<ArgMatches, Error> {
        command.clone().try_get_matches_from(&self.arguments)
    }

    /// The file that is asked for. Whatever else is wrong is reported by the full parse.
    fn file(&self, command: &Command) -> Option<PathBuf> {
        let variable = value(self.variable, "NODE_CONFIG").map(PathBuf::from);
        // A parse is most of what reading costs, and a rehearsal reads many configurations.
        let is_flag = |argument: &OsString| argument.as_encoded_bytes().starts_with(b"--config");
        if variable.is_none() && !self.arguments.iter().any(is_flag) {
            return None;
        }
        let matches = self.parse(&command.clone().ignore_errors(true)).ok()?;
        matches.get_one::<PathBuf>("config").cloned().or(variable)
    }

    /// The answer to `--help`, which names the services if the app can be made of what was given so far.
    fn help<Own, A>(&self, flags: &Flags, full: Command, make: impl FnOnce(Own) -> A) -> ConfigError
    where
        Own: clap::Args,
        A: Borrow<App>,
    {
        let lenient = full.ignore_errors(true).disable_help_flag(true).disable_version_flag(true);
        let own = self.parse(&lenient).and_then(|matches| Own::from_arg_matches(&matches));
        let flags = match own {
            Ok(own) => flags.clone().with_services(&known(make(own).borrow().services())),
            Err(_) => flags.clone(),
        };
        let flags = flags.with_variables_told(self.variable);
        match self.parse(&flags.command) {
            Err(error) if is_help(&error) => ConfigError::Help(error.render().to_string()),
            // The name of a service, before help was asked for.
            Err(error) => explain(&error, Some(&error), &flags, &Found::new()),
            Ok(_) => unreachable!("the same arguments asked for help"),
        }
    }
}

/// What the sources besides flags say of policies, by the parser that flags go through.
fn of_known(policies: &FoundPolicies, known: &Known) -> Result<Vec<PolicyConfig>, ConfigError> {
    let read = policies.iter().map(|(text, source)| {
        let wrong = |expected| {
            let flag = "--policy <[SERVICE[.METHOD].]KEY=VALUE>";
            ConfigError::Wrong(format!("invalid value '{text}' for '{flag}': {expected} (in {source})"))
        };
        let read = PolicyConfig::of_known(text, known).map_err(wrong)?;
        Ok(PolicyConfig { source: Some(source.clone()), ..read })
    });
    read.collect()
}

/// Where the value of a key comes from; none if it is the default.
fn origin(key: &str, matches: &ArgMatches, found: &Found) -> Option<String> {
    match (matches.value_source(key)?, found.get(key)) {
        (ValueSource::DefaultValue, Some((_, source))) => Some(format!("{key} in {source}")),
        (ValueSource::DefaultValue, None) => None,
        _ => Some(format!("--{key}")),
    }
}

/// The program's own keys that have a value, each on a line of its own.
fn print_own(flags: &Flags, matches: &ArgMatches) -> String {
    flags.own_keys().fold(String::new(), |mut lines, flag| {
        if let (Some(key), Some(value)) = (flag.get_long(), own_value(flag, matches)) {
            writeln!(lines, "{key} = {value}").expect("a text takes all");
        }
        lines
    })
}

fn own_value(flag: &Arg, matches: &ArgMatches) -> Option<toml::Value> {
    let given = matches.get_raw(flag.get_id().as_str()).into_iter().flatten();
    let mut texts: Vec<_> = given.map(|value| value.to_string_lossy().into_owned()).collect();
    if is_list(flag) {
        return Some(toml::Value::Array(texts.into_iter().map(toml::Value::String).collect()));
    }
    let text = texts.pop()?;
    if is_switch(flag) {
        return text.parse().ok().map(toml::Value::Boolean);
    }
    // Written as a number only if it reads back as the same text.
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    Some(number.map_or(toml::Value::String(text), toml::Value::Integer))
}
