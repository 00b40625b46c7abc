//! What a rehearsal will do, as plain data: who calls what and when, what breaks where and for how long.
//!
//! A plan is drawn from a seed (see [`crate::draw`]), or read from a TOML file. Nothing else decides what
//! happens in a rehearsal, so a plan can be printed, kept, cut down and run again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::{CLIENTS, Scenario};

/// Everything that one rehearsal does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The name of the scenario it belongs to.
    pub scenario: String,
    /// The seed of what is not spelled out here: latencies, ids, hash orders, scheduling.
    pub seed: u64,
    /// The planted bug that is switched on, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// Choices about the topology, as the scenario offers them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// How the network behaves while nothing is wrong with it.
    pub network: Network,
    /// What breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// If given, a client waits with its next call while so many of all calls wait for their replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<usize>,
    /// The calls that clients make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// The calls that must succeed once all faults have healed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Request>,
}

/// The healthy network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The shortest time a segment takes over a link.
    #[serde(with = "text")]
    pub latency_min: Duration,
    /// The longest time a segment takes over a link.
    #[serde(with = "text")]
    pub latency_max: Duration,
    /// Of 100 reads, writes and deliveries, how many let other tasks of the host go first.
    pub yield_percent: u8,
}

/// One call a client makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its number, unique in the plan.
    pub id: u32,
    /// When the client makes it, counted from the start.
    #[serde(with = "text")]
    pub at: Duration,
    /// Which client makes it.
    pub client: String,
    /// What is called, in the scenario's own words.
    pub kind: String,
    /// What is sent, in the scenario's own words.
    pub argument: String,
    /// How long the caller is willing to wait.
    #[serde(with = "text")]
    pub deadline: Duration,
}

impl Request {
    /// The request id that goes with the call through every hop.
    #[must_use]
    pub fn request_id(&self) -> String {
        format!("sim-{:06}", self.id)
    }

    /// The number of the request that goes under this id, if it is one that [`Self::request_id`] makes.
    pub(crate) fn number_of(request_id: &str) -> Option<u32> {
        let digits = request_id.strip_prefix("sim-")?;
        let is_ours = digits.len() == 6 || digits.len() > 6 && !digits.starts_with('0');
        if is_ours && digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse().ok() } else { None }
    }
}

/// One thing that goes wrong: what, where, from when, for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it begins, counted from the start.
    #[serde(with = "text")]
    pub from: Duration,
    /// How long it lasts; a crashed host is started again at the end.
    #[serde(with = "text")]
    pub lasts: Duration,
    /// What goes wrong, and where.
    #[serde(flatten)]
    pub what: FaultKind,
}

impl Fault {
    /// When it ends, counted from the start.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.from + self.lasts
    }
}

/// The things that can go wrong.
///
/// A lost segment is a late segment, as under TCP: what a partition swallows arrives when the sender would
/// have tried again after the link healed. Only a dead host or a reset loses bytes for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the two ends, the host and the amount")]
pub enum FaultKind {
    /// Nothing passes in either direction.
    Partition { a: String, b: String },
    /// Nothing passes from `a` to `b`; the other direction works.
    PartitionOneWay { a: String, b: String },
    /// All segments wait, and arrive together at the end.
    Hold { a: String, b: String },
    /// Every segment takes this long.
    SlowLink {
        a: String,
        b: String,
        #[serde(with = "text")]
        latency: Duration,
    },
    /// All connections between the two break at once; new ones can be made.
    Reset { a: String, b: String },
    /// The host loses its power: no FIN, no answer, and no memory when it comes back.
    PowerLoss { host: String },
    /// The process is killed; its machine closes the sockets and refuses new connections.
    Kill { host: String },
    /// The host does nothing, then goes on as if nothing had been.
    Pause { host: String },
    /// The host's wall clock is wrong by so many milliseconds.
    ClockSkew { host: String, by_ms: i64 },
    /// The host's wall clock runs fast (or slow) by so many parts in a million.
    ClockDrift { host: String, ppm: i64 },
    /// The host's wall clock jumps by so many milliseconds, and back at the end.
    ClockJump { host: String, by_ms: i64 },
    /// Handlers take longer.
    SlowHandler {
        host: String,
        #[serde(with = "text")]
        delay: Duration,
    },
    /// Handlers panic.
    PanickingHandler { host: String },
    /// The service has no room for another call.
    FullService { host: String },
    /// The host is told to drain and leave; it is started again at the end.
    Drain { host: String },
}

impl FaultKind {
    /// Its name, as in a plan file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::PartitionOneWay { .. } => "partition-one-way",
            Self::Hold { .. } => "hold",
            Self::SlowLink { .. } => "slow-link",
            Self::Reset { .. } => "reset",
            Self::PowerLoss { .. } => "power-loss",
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::ClockSkew { .. } => "clock-skew",
            Self::ClockDrift { .. } => "clock-drift",
            Self::ClockJump { .. } => "clock-jump",
            Self::SlowHandler { .. } => "slow-handler",
            Self::PanickingHandler { .. } => "panicking-handler",
            Self::FullService { .. } => "full-service",
            Self::Drain { .. } => "drain",
        }
    }

    /// The hosts it concerns: one, or the two ends of a link.
    #[must_use]
    pub fn hosts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Partition { a, b }
            | Self::PartitionOneWay { a, b }
            | Self::Hold { a, b }
            | Self::SlowLink { a, b, .. }
            | Self::Reset { a, b } => (a, Some(b)),
            Self::PowerLoss { host }
            | Self::Kill { host }
            | Self::Pause { host }
            | Self::ClockSkew { host, .. }
            | Self::ClockDrift { host, .. }
            | Self::ClockJump { host, .. }
            | Self::SlowHandler { host, .. }
            | Self::PanickingHandler { host }
            | Self::FullService { host }
            | Self::Drain { host } => (host, None),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartitionOneWay { a, b } => write!(f, "{} {a} -> {b}", self.name()),
            Self::Partition { a, b } | Self::Hold { a, b } | Self::Reset { a, b } => {
                write!(f, "{} {a} <-> {b}", self.name())
            }
            Self::SlowLink { a, b, latency } => {
                write!(f, "{} {a} <-> {b}, {}", self.name(), Millis(*latency))
            }
            Self::ClockSkew { host, by_ms } | Self::ClockJump { host, by_ms } => {
                write!(f, "{} {host}, {by_ms:+} ms", self.name())
            }
            Self::ClockDrift { host, ppm } => write!(f, "{} {host}, {ppm:+} ppm", self.name()),
            Self::SlowHandler { host, delay } => {
                write!(f, "{} {host}, {}", self.name(), Millis(*delay))
            }
            Self::PowerLoss { host }
            | Self::Kill { host }
            | Self::Pause { host }
            | Self::PanickingHandler { host }
            | Self::FullService { host }
            | Self::Drain { host } => write!(f, "{} {host}", self.name()),
        }
    }
}

impl Plan {
    /// The plan as a TOML file that `--plan` runs.
    ///
    /// # Errors
    /// When a value does not fit into TOML; no drawn plan has one.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Reads what [`Plan::to_toml`] wrote.
    ///
    /// # Errors
    /// When the text is not TOML or not a plan; the error names the place.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Whether all hosts and clients it names are in `scenario`.
    ///
    /// # Errors
    /// When one is not; the error names it.
    pub fn check(&self, scenario: &Scenario) -> Result<(), String> {
        let is_host = |name: &str| name == CLIENTS || scenario.hosts.iter().any(|(host, _)| host == name);
        let (firsts, seconds): (Vec<_>, Vec<_>) = self.faults.iter().map(|fault| fault.what.hosts()).unzip();
        if let Some(name) =
            firsts.into_iter().chain(seconds.into_iter().flatten()).find(|name| !is_host(name))
        {
            return Err(format!("a fault names the host {name:?}, which {} has not", self.scenario));
        }
        let is_client = |name: &str| scenario.clients.iter().any(|(client, _)| client == name);
        let mut clients = self.requests.iter().chain(&self.probes).map(|request| &request.client);
        match clients.find(|client| !is_client(client)) {
            Some(name) => {
                Err(format!("a request names the client {name:?}, which {} has not", self.scenario))
            }
            None => Ok(()),
        }
    }

    /// When the last fault ends and the last request is made.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        let faults = self.faults.iter().map(Fault::until);
        let requests = self.requests.iter().map(|request| request.at);
        faults.chain(requests).max().unwrap_or_default()
    }
}

impl Plan {
    /// The command that runs plans like this one: planted bugs exist in debug builds only.
    pub(crate) fn tool(&self) -> &'static str {
        if self.mutant.is_some() { "cargo test --test sim -- rehearse" } else { "cargo sim" }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {}, seed {}", self.scenario, self.seed)?;
        if let Some(mutant) = &self.mutant {
            write!(f, ", mutant {mutant}")?;
        }
        for (option, choice) in &self.options {
            write!(f, ", {option} {choice}")?;
        }
        writeln!(
            f,
            "\n  network   {} to {}, {} % yields",
            Millis(self.network.latency_min),
            Millis(self.network.latency_max),
            self.network.yield_percent
        )?;
        for fault in &self.faults {
            let (from, until) = (Millis(fault.from), Millis(fault.until()));
            writeln!(f, "  fault     {from:>9} to {until:>9}  {}", fault.what)?;
        }
        for request in &self.requests {
            let Request { client, kind, argument, .. } = request;
            let (at, deadline) = (Millis(request.at), Millis(request.deadline));
            let id = request.request_id();
            writeln!(f, "  request   {at:>9} {id}  {client} {kind} {argument:?} within {deadline}")?;
        }
        for Request { client, kind, argument, deadline, .. } in &self.probes {
            writeln!(f, "  probe        healed  {client} {kind} {argument:?} within {}", Millis(*deadline))?;
        }
        Ok(())
    }
}

/// Prints a time in milliseconds, as every line of output does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} ms", self.0.as_millis()))
    }
}

/// Durations as people write them: `120ms`, `2s`.
mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("{text:?} is no duration: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_request_is_read_from_its_own_id_only() {
        let ids = ["sim-000006", "sim-900001000", "sim-6", "sim-0000006", "sim-+00006", "other"];
        let numbers = ids.map(Request::number_of);
        assert_eq!(numbers, [Some(6), Some(900_001_000), None, None, None, None]);
    }
}
