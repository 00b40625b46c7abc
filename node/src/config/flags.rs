//! All flags of a program: every node's, and its own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Args as _, Command};

use super::keys::{Config, Defaults};
use super::policies::{Known, PolicyConfig};
use super::values::PeerConfig;

/// What is no key: it says where keys are, or what to do with them.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Besides {
    /// A TOML file with the same keys
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Check the configuration, print it as a file for --config, and exit
    #[arg(long)]
    pub(super) check: bool,

    /// Print what holds for the calls to a method, and where each value comes from, and exit
    #[arg(long, value_name = "SERVICE/METHOD")]
    pub(super) explain: Option<String>,
}

/// The flags of the program `name`, and which of them are its own.
#[derive(Debug, Clone)]
pub(super) struct Flags {
    pub(super) command: Command,
    pub(super) own: Vec<String>,
    prefix: String,
}

impl Flags {
    /// Every node's flags, and those of `Own`.
    ///
    /// # Panics
    ///
    /// If a flag is both.
    pub(super) fn of<Own: clap::Args>(name: &'static str, defaults: Option<Defaults>) -> Self {
        let command = Command::new(name).next_help_heading("Options of every node");
        let command = Besides::augment_args(Config::augment_args(command));
        let command = Own::augment_args(command.next_help_heading(format!("Options of {name}")));
        let own = Own::augment_args(Command::new(name))
            .get_arguments()
            .map(|own| own.get_id().to_string())
            .collect();
        assert_distinct(&command);
        let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
        let mut command = command.version(version).about(ABOUT).long_about(None).after_help(AFTER);
        if let Some(Defaults { workers, max_buffered }) = defaults {
            command = command
                .mut_arg("workers", |flag| flag.default_value(workers.to_string()))
                .mut_arg("max_buffered", |flag| flag.default_value(max_buffered.to_string()));
        }
        let prefix = name.replace('-', "_").to_uppercase();
        Self { command: command.max_term_width(100), own, prefix }
    }

    /// The flags that have a variable.
    pub(super) fn with_variable(&self) -> impl Iterator<Item = &Arg> {
        self.command.get_arguments().filter(|flag| {
            flag.get_long().is_some() && !["check", "explain"].contains(&flag.get_id().as_str())
        })
    }

    /// The flags that are keys of the file.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arg> {
        self.with_variable().filter(|flag| flag.get_id() != "config")
    }

    /// The keys that this program has besides every node's.
    pub(super) fn own_keys(&self) -> impl Iterator<Item = &Arg> {
        self.keys().filter(|flag| self.is_own(flag))
    }

    /// The variable of a flag that has one.
    pub(super) fn variable(&self, flag: &Arg) -> String {
        let prefix = if self.is_own(flag) { &self.prefix } else { "NODE" };
        let key = flag.get_long().unwrap_or_default();
        format!("{prefix}_{}", key.replace('-', "_").to_uppercase())
    }

    fn is_own(&self, flag: &Arg) -> bool {
        self.own.iter().any(|own| own == flag.get_id().as_str())
    }

    /// With the names of the services, of which none are known before the app is made.
    #[must_use]
    pub(super) fn with_services(mut self, services: &Known) -> Self {
        let known: Vec<_> = services.iter().map(|(name, _)| *name).collect();
        let (all, services) = (known.join(","), services.clone());
        let parser = PossibleValuesParser::new(known.clone());
        let command = self.command.mut_arg("services", |flag| {
            let flag = flag.value_parser(parser);
            // What a source says is the default already.
            if flag.get_default_values().is_empty() && !all.is_empty() {
                flag.default_value(all)
            } else {
                flag
            }
        });
        self.command = command
            .mut_arg("peers", |flag| flag.value_parser(move |text: &str| PeerConfig::of_known(text, &known)))
            .mut_arg("policies", |flag| {
                flag.value_parser(move |text: &str| PolicyConfig::of_known(text, &services))
            });
        self
    }

    /// With the variable of each flag in its help.
    #[must_use]
    pub(super) fn with_variables_told(mut self, value: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let told: Vec<_> =
            self.with_variable().map(|flag| (flag.get_id().clone(), self.variable(flag))).collect();
        for (id, variable) in told {
            let value = value(&variable).unwrap_or_default();
            let told = format!("[env: {variable}={}]", value.to_string_lossy());
            self.command = self.command.mut_arg(id, |flag| {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                let long = flag.get_long_help().map_or_else(|| help.clone(), ToString::to_string);
                flag.help(format!("{help} {told}")).long_help(format!("{long}\n\n{told}"))
            });
        }
        self
    }
}

/// Whether a flag has several values, which are a list in the file.
pub(super) fn is_list(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}

/// Whether a flag is given without a value, and is `true` or `false` in the file.
pub(super) fn is_switch(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

fn assert_distinct(command: &Command) {
    let flags: Vec<_> = command.get_arguments().collect();
    for (index, flag) in flags.iter().enumerate() {
        let is_same = |other: &&Arg| {
            other.get_id() == flag.get_id()
                || flag.get_long().is_some_and(|long| other.get_long() == Some(long))
        };
        assert!(
            !flags[..index].iter().any(is_same),
            "the flag {} is one of every node's: it needs another name",
            flag.get_id()
        );
    }
}

const ABOUT: &str = "Runs services: REST in front, gRPC between.";

const AFTER: &str = "Every flag is also a key of the file and a variable of the environment: \
    --drain-timeout is drain-timeout = \"30s\" and NODE_DRAIN_TIMEOUT=30s. \
    Flags override the environment, which overrides the file. An empty variable is none.\n\n\
    SIGTERM, SIGINT and SIGHUP drain: calls in flight finish. Another SIGTERM or SIGINT exits at once.\n\
    Exit codes: 0 after a drain, 64 for a wrong configuration, 69 for an address that \
    cannot be bound or a store that cannot be used, 70 for a failure of the system below.";
