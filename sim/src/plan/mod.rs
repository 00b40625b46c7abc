//! What a rehearsal will do, as plain data: who calls what and when, what breaks where and for how long.
//!
//! A plan is drawn from a seed, or read from a TOML file. Nothing else decides what
//! happens in a rehearsal, so a plan can be printed, kept, cut down and run again.

mod family;
pub(crate) mod fault;
pub(crate) mod time;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use family::Family;
pub use fault::{DiskFails, Fault, FaultKind};
use time::{Millis, text};

/// Everything that one rehearsal does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The name of the scenario it belongs to.
    pub scenario: String,
    /// The seed of what is not spelled out here: latencies, ids, hash orders, scheduling.
    pub seed: u64,
    /// The name of the planted bug that is in the program, if one is. The simulator plants nothing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
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
    /// The id that the client sends in place of [`Self::request_id`]; an empty one is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends_id: Option<String>,
    /// What the client sends besides: names of headers, and their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
}

impl Request {
    /// What plans and checks call this request. It is the request id that goes with the call through every hop, unless
    /// the plan has another one sent.
    #[must_use]
    pub fn request_id(&self) -> String {
        Self::name_of(self.id)
    }

    /// The request id that the client sends, if it sends one. A program may refuse it and make its own.
    #[must_use]
    pub fn id_sent(&self) -> Option<String> {
        match &self.sends_id {
            Some(other) => Some(other.clone()).filter(|id| !id.is_empty()),
            None => Some(self.request_id()),
        }
    }

    /// What plans and checks call the request of this number.
    pub(crate) fn name_of(number: u32) -> String {
        // Written for every call in many places: `format!` costs several times as much.
        if number > 999_999 {
            return format!("sim-{number}");
        }
        let digits = [100_000, 10_000, 1_000, 100, 10, 1].map(|place| number / place % 10);
        let digits = digits.map(|digit| char::from_digit(digit, 10).expect("a digit is less than ten"));
        let mut name = String::with_capacity("sim-000000".len());
        name.push_str("sim-");
        name.extend(digits);
        name
    }

    /// The number of the request that goes under this id, if it is one that [`Self::request_id`] makes.
    pub(crate) fn number_of(request_id: &str) -> Option<u32> {
        let digits = request_id.strip_prefix("sim-")?;
        let is_ours = digits.len() == 6 || digits.len() > 6 && !digits.starts_with('0');
        let digits = is_ours.then(|| digits.bytes().map(|digit| digit.checked_sub(b'0')))?;
        digits
            .map(|digit| digit.filter(|digit| *digit < 10))
            .try_fold(0_u32, |number, digit| number.checked_mul(10)?.checked_add(digit?.into()))
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

    /// When the last fault ends and the last request is made.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        let faults = self.faults.iter().map(Fault::until);
        let requests = self.requests.iter().map(|request| request.at);
        faults.chain(requests).max().unwrap_or_default()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {}, seed {}", self.scenario, self.seed)?;
        if let Some(planted) = &self.planted {
            write!(f, ", planted {planted}")?;
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
            write!(f, "  request   {at:>9} {id}  {client} {kind} {argument:?} within {deadline}")?;
            writeln!(f, "{}", Along(request))?;
        }
        for Request { client, kind, argument, deadline, .. } in &self.probes {
            writeln!(f, "  probe        healed  {client} {kind} {argument:?} within {}", Millis(*deadline))?;
        }
        Ok(())
    }
}

/// Prints what is special about what a client sends along.
struct Along<'a>(&'a Request);

impl fmt::Display for Along<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.sends_id.as_deref() {
            Some("") => f.write_str(", without an id")?,
            Some(id) => write!(f, ", with the id {id:?}")?,
            None => {}
        }
        self.0.metadata.iter().try_for_each(|(name, value)| write!(f, ", {name}: {value:?}"))
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
        let names = [0, 6, 999_999, 1_000_000, u32::MAX].map(Request::name_of);
        assert_eq!(names, ["sim-000000", "sim-000006", "sim-999999", "sim-1000000", "sim-4294967295"]);
    }
}
