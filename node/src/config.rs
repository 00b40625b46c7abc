//! The configuration of a node: plain data, complete and checked before anything is bound.
//!
//! One parser serves all sources. Flags override the environment (`NODE_*`), which overrides the file
//! given with `--config`, which overrides the defaults.

mod sources;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use transport::grpc::Keepalive;
use transport::{Address, Limits};

use self::sources::{explain, variable, with_defaults_of, without_empty_variable};

/// What a node runs, where it listens, and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "node",
    version,
    about = "Runs services: REST in front, gRPC between.",
    after_help = "Every flag is also a key of the file and a variable of the environment: \
                  --drain-timeout is drain-timeout = \"30s\" and NODE_DRAIN_TIMEOUT=30s. \
                  Flags override the environment, which overrides the file. An empty variable is none.\n\n\
                  SIGTERM and SIGINT drain: calls in flight finish. A second signal exits at once.\n\
                  Exit codes: 0 after a drain, 64 for a wrong configuration, 69 for an address that \
                  cannot be bound, 70 for a failure of the system below.",
    max_term_width = 100
)]
pub struct Config {
    /// Services to host here; calls between them stay in memory
    #[arg(long, env = "NODE_SERVICES", value_name = "NAME,...", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(actors::services().iter().map(|service| service.name())),
          default_value = every_service())]
    pub services: Vec<String>,

    /// Where REST is served; port 0 takes a free one
    #[arg(long, env = "NODE_HTTP", value_name = "ADDR|none", default_value = "127.0.0.1:8080", value_parser = http_listen)]
    pub http: Listen,

    /// Where gRPC is served; port 0 takes a free one
    #[arg(long, env = "NODE_GRPC", value_name = "ADDR|unix:PATH|none", default_value = "127.0.0.1:50051")]
    pub grpc: Listen,

    /// Where a service is that is not hosted here: http://HOST:PORT or unix:PATH, several separated by
    /// commas are used in turn. One that is hosted here is called in memory all the same, so that all nodes
    /// may have the same list. Repeatable; in the environment separated by semicolons
    #[arg(long = "peer", env = "NODE_PEER", value_name = "NAME=URI", value_delimiter = ';')]
    pub peers: Vec<PeerConfig>,

    /// Threads; each has its own actors, connections and channels
    #[arg(long, env = "NODE_WORKERS", value_name = "N", default_value = cores(),
          value_parser = |text: &str| number::<u16>(text, 512), allow_hyphen_values = true)]
    pub workers: u16,

    /// The longest that a call takes whose caller does not say: REST requests, unary gRPC calls, calls to peers
    #[arg(long, env = "NODE_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = duration,
          allow_hyphen_values = true)]
    pub deadline: Duration,

    /// The longest that a drain takes
    #[arg(long, env = "NODE_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration,
          allow_hyphen_values = true)]
    pub drain_timeout: Duration,

    /// Ping a gRPC connection with open calls that was silent for this long; half of it later it is dead
    #[arg(long, env = "NODE_KEEPALIVE", value_name = "DURATION", default_value = "20s", value_parser = duration,
          allow_hyphen_values = true)]
    pub keepalive: Duration,

    /// The most calls that one service takes on at once on one worker; more are refused
    #[arg(long, env = "NODE_MAX_CALLS", value_name = "N", default_value = "1024",
          value_parser = |text: &str| number::<u32>(text, 1_000_000), allow_hyphen_values = true)]
    pub max_calls: u32,

    /// The largest message, in bytes
    #[arg(long, env = "NODE_MAX_MESSAGE_SIZE", value_name = "BYTES", default_value = "4194304",
          value_parser = |text: &str| number::<u32>(text, u32::MAX), allow_hyphen_values = true)]
    pub max_message_size: u32,

    /// What log lines look like
    #[arg(
        long,
        env = "NODE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto",
        hide_possible_values = false
    )]
    pub log_format: LogFormat,

    /// Which log lines are written, as in RUST_LOG, which is the default where it is set
    #[arg(long, env = "NODE_LOG", value_name = "FILTER", default_value = log_filter(), value_parser = filter)]
    pub log: String,

    /// A TOML file with the same keys
    #[arg(long, env = "NODE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration, print it as a file for --config, and exit
    #[arg(long)]
    pub check: bool,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    None,
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
}

/// Where a service is that is not hosted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The service.
    pub name: String,
    /// At least one.
    pub addresses: Vec<Address>,
}

/// What log lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version` was asked for; the text is the answer.
    #[error("{0}")]
    Help(String),
    /// A key or a value is wrong; the text names it and says what was expected.
    #[error("{0}")]
    Wrong(String),
}

impl Config {
    /// Reads the configuration from `arguments` (the first is the program), the environment and the file.
    ///
    /// # Errors
    ///
    /// If a key or a value is wrong, a needed one is missing, or help was asked for.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let mut command = Self::command().mut_args(without_empty_variable);
        // Only to find the file: whatever is wrong is reported by the full parse below.
        let first_look = command.clone().ignore_errors(true).try_get_matches_from(&arguments);
        let file = first_look.ok().and_then(|found| found.get_one::<PathBuf>("config").cloned());
        if let Some(file) = &file {
            command = with_defaults_of(command, file)?;
        }
        let matches = command.try_get_matches_from(&arguments);
        let config = matches.and_then(|matches| Self::from_arg_matches(&matches));
        let config = config.map_err(|error| explain(&error, &arguments, file.as_deref()))?;
        config.check_together()?;
        Ok(config)
    }

    /// Whether `service` is hosted here.
    #[must_use]
    pub fn hosts(&self, service: &str) -> bool {
        self.services.iter().any(|hosted| hosted == service)
    }

    /// Where `service` is, if it is said.
    #[must_use]
    pub fn addresses(&self, service: &str) -> &[Address] {
        let peer = self.peers.iter().find(|peer| peer.name == service);
        peer.map_or(&[], |peer| &peer.addresses)
    }

    /// What each service takes on.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            message_size: size(self.max_message_size),
            calls: size(self.max_calls),
            streams: size(self.max_calls),
        }
    }

    /// When a connection counts as dead.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        Keepalive { interval: self.keepalive, timeout: self.keepalive / 2 }
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        let wrong = |text: String| Err(ConfigError::Wrong(text));
        if self.http == Listen::None && self.grpc == Listen::None {
            return wrong("--http and --grpc are both none: expected an address for one of them".into());
        }
        if let (Listen::Tcp(http), Listen::Tcp(grpc)) = (&self.http, &self.grpc)
            && http == grpc
            && http.port() != 0
        {
            return wrong(format!(
                "--http and --grpc are both {http}: expected an address for each, or none for one of them"
            ));
        }
        if self.services.is_empty() {
            return wrong(format!("--services is empty: expected some of {}", every_service()));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            if self.peers[..index].iter().any(|earlier| earlier.name == peer.name) {
                return wrong(format!(
                    "--peer {} is given twice: expected once, with all its addresses",
                    peer.name
                ));
            }
        }
        for service in actors::services().iter().filter(|service| self.hosts(service.name())) {
            for peer in service.callees() {
                if !self.hosts(peer) && self.addresses(peer).is_empty() {
                    return wrong(format!(
                        "--peer {peer} is missing: {} calls {peer}, expected --peer {peer}=http://HOST:PORT \
                         or {peer} among --services",
                        service.name()
                    ));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Config {
    /// As a file for `--config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &dyn ToString| toml::Value::String(text.to_string());
        let time = |time: Duration| text(&humantime::format_duration(time));
        let list = |items: Vec<String>| items.into_iter().map(toml::Value::String).collect();
        writeln!(f, "services = {}", toml::Value::Array(list(self.services.clone())))?;
        writeln!(f, "http = {}", text(&self.http))?;
        writeln!(f, "grpc = {}", text(&self.grpc))?;
        let peers = self.peers.iter().map(ToString::to_string).collect();
        writeln!(f, "peer = {}", toml::Value::Array(list(peers)))?;
        writeln!(f, "workers = {}", self.workers)?;
        writeln!(f, "deadline = {}", time(self.deadline))?;
        writeln!(f, "drain-timeout = {}", time(self.drain_timeout))?;
        writeln!(f, "keepalive = {}", time(self.keepalive))?;
        writeln!(f, "max-calls = {}", self.max_calls)?;
        writeln!(f, "max-message-size = {}", self.max_message_size)?;
        writeln!(f, "log-format = {}", text(&self.log_format))?;
        write!(f, "log = {}", text(&self.log))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let expected = "expected IP:PORT, unix:PATH or none";
        text.parse().map(Self::Tcp).map_err(|_| expected.to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for PeerConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, addresses) = text.split_once('=').ok_or("expected NAME=URI")?;
        if !actors::services().iter().any(|service| service.name() == name) {
            let known: Vec<_> = actors::services().iter().map(|service| service.name()).collect();
            return Err(format!("no service {name}: expected one of {}", known.join(", ")));
        }
        let addresses = addresses.split(',').map(|address| address.trim().parse());
        let addresses = addresses.collect::<Result<_, _>>().map_err(|error| format!("{error}"))?;
        Ok(Self { name: name.to_owned(), addresses })
    }
}

impl fmt::Display for PeerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        write!(f, "{}={}", self.name, addresses.join(","))
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no format is hidden");
        f.write_str(value.get_name())
    }
}

fn http_listen(text: &str) -> Result<Listen, String> {
    match text.parse() {
        Ok(listen @ (Listen::None | Listen::Tcp(_))) => Ok(listen),
        Ok(Listen::Unix(_)) | Err(_) => Err("expected IP:PORT or none".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration above zero and up to a year, like 500ms, 10s or 1m 30s";
    let longest = Duration::from_secs(365 * 24 * 3600);
    let parsed = humantime::parse_duration(text).ok();
    parsed.filter(|parsed| !parsed.is_zero() && *parsed <= longest).ok_or_else(|| expected.to_owned())
}

/// A whole number from 1 to `max`.
fn number<T: TryFrom<u32>>(text: &str, max: u32) -> Result<T, String> {
    let parsed = text.parse().ok().filter(|number| (1..=max).contains(number));
    let number = parsed.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("expected a whole number from 1 to {max}"))
}

/// Spans and fields, which other programs filter by, would be taken for targets that nothing has.
fn filter(text: &str) -> Result<String, String> {
    let expected = |error: String| format!("{error}: expected a filter like info or warn,access=info");
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "_:-.=,".contains(letter);
    if text.is_empty() || !text.chars().all(is_known) {
        return Err(expected("there are targets and levels, and nothing else to filter by".into()));
    }
    let parsed = text.parse::<tracing_subscriber::filter::Targets>();
    parsed.map(|_| text.to_owned()).map_err(|error| expected(error.to_string()))
}

fn every_service() -> String {
    actors::services().iter().map(|service| service.name()).collect::<Vec<_>>().join(",")
}

fn cores() -> String {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(512).to_string()
}

fn log_filter() -> String {
    let set = variable("RUST_LOG").map(|filter| filter.to_string_lossy().into_owned());
    set.unwrap_or_else(|| "info,actix_server=warn".to_owned())
}
