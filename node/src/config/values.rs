//! The values that keys have, and how they are read and written.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use transport::net::Address;
use transport::rest;

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

/// Where what is remembered for idempotency keys is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// In memory alone.
    None,
    /// In a file, too.
    File(PathBuf),
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

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is
    On,
    /// It is not
    Off,
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

impl FromStr for StoreAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected PATH or none".to_owned()),
            "none" => Ok(Self::None),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl PeerConfig {
    /// Reads `NAME=URI,...` where the name is one of `known`.
    pub(super) fn of_known(text: &str, known: &[&str]) -> Result<Self, String> {
        let peer: Self = text.parse()?;
        if !known.contains(&peer.name.as_str()) {
            return Err(format!("no service {}: expected one of {}", peer.name, known.join(", ")));
        }
        Ok(peer)
    }
}

impl FromStr for PeerConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, addresses) = text.split_once('=').ok_or("expected NAME=URI")?;
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

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::On { "on" } else { "off" })
    }
}

pub(super) fn http_listen(text: &str) -> Result<Listen, String> {
    match text.parse() {
        Ok(listen @ (Listen::None | Listen::Tcp(_))) => Ok(listen),
        Ok(Listen::Unix(_)) | Err(_) => Err("expected IP:PORT or none".to_owned()),
    }
}

/// Reads a duration above zero and up to a year: for `value_parser` of flags.
///
/// # Errors
///
/// What was expected, if `text` is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration above zero and up to a year, like 500ms, 10s or 1m 30s";
    let longest = Duration::from_secs(365 * 24 * 3600);
    let parsed = humantime::parse_duration(text).ok();
    parsed.filter(|parsed| !parsed.is_zero() && *parsed <= longest).ok_or_else(|| expected.to_owned())
}

/// A duration, which may be none at all.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(text).map_err(|_| "expected a duration up to a year, like 0s, 500ms or 10s".to_owned()),
    }
}

/// A whole number from 1 to `max`.
pub(super) fn number<T: TryFrom<u64>>(text: &str, max: u64) -> Result<T, String> {
    let parsed = text.parse().ok().filter(|number| (1..=max).contains(number));
    let number = parsed.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("expected a whole number from 1 to {max}"))
}

/// The name of a header, in lower case. `none` is one for the parser, and stands for no header at all.
pub(super) fn header(text: &str) -> Result<String, String> {
    let name = text.parse::<http::HeaderName>();
    name.map(|name| name.to_string()).map_err(|_| "expected names of headers, or none".to_owned())
}

/// The name of a header of answers that the edge does not set itself, in lower case, or none.
pub(super) fn own_header(text: &str) -> Result<String, String> {
    let name =
        text.parse::<http::HeaderName>().map_err(|_| "expected the name of a header, or none".to_owned())?;
    match rest::is_set_by_edge(name.as_str()) {
        true => Err("expected the name of a header that answers do not have anyway, or none".to_owned()),
        false => Ok(name.to_string()),
    }
}

/// Spans and fields, which other programs filter by, would be taken for targets that nothing has.
pub(super) fn filter(text: &str) -> Result<String, String> {
    let expected = |error: String| format!("{error}: expected a filter like info or warn,access=info");
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "_:-.=,".contains(letter);
    if text.is_empty() || !text.chars().all(is_known) {
        return Err(expected("there are targets and levels, and nothing else to filter by".into()));
    }
    let parsed = text.parse::<tracing_subscriber::filter::Targets>();
    parsed.map(|_| text.to_owned()).map_err(|error| expected(error.to_string()))
}
