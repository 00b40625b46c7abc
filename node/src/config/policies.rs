//! The policies of calls that services make: what is said of all of them, of those to one service, of those to one
//! method. The narrowest word counts; of the same width, that of the flag before the variable's before the file's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use transport::policy::{Breaker, Codes, MaxInFlight, Policies, Policy};
use transport::{Code, Rpc, Service, status};

use super::source::Source;
use super::values::{duration, number};

/// The most attempts of a call.
const ATTEMPTS_MAX: u64 = 10;

/// The most tokens of a budget.
const TOKENS_MAX: u64 = 1000;

/// The most failures in a row that a breaker may wait for.
const FAILURES_MAX: u64 = 1000;

/// One thing that is said of calls. Two are the same that say the same, wherever it is said.
#[derive(Debug, Clone)]
pub struct PolicyConfig {
    pub(super) scope: Scope,
    pub(super) setting: Setting,
    /// Where it is said; none if by a flag.
    pub(super) source: Option<Source>,
}

/// Which calls something is said of, from the widest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Every,
    Service(String),
    Method(String, String),
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Deadline(Duration),
    Attempts(u32),
    RetryCodes(Codes),
    Backoff(Duration),
    BackoffMax(Duration),
    Hedge(bool),
    WaitForReady(bool),
    /// The name of a field, or [`NONE`].
    Key(String),
    Budget(u32),
    BudgetRatio(u32),
    Breaker(Option<Breaker>),
    MaxInFlight(Option<MaxInFlight>),
    HealthCheck(bool),
}

/// The value of what is not there.
pub(super) const NONE: &str = "none";

/// The services that there are, with their rpcs.
pub(super) type Known = Vec<(&'static str, &'static [Rpc])>;

/// The keys, in the order in which they are explained; the last five are of a service and not of one method.
pub(super) const KEYS: [&str; 13] = [
    "deadline",
    "attempts",
    "retry-codes",
    "backoff",
    "backoff-max",
    "hedge",
    "wait-for-ready",
    "key",
    "budget",
    "budget-ratio",
    "breaker",
    "max-in-flight",
    "health-check",
];

impl Scope {
    /// Whether it is about the calls to `service`, or to one of its methods.
    fn is_of(&self, service: &str, method: Option<&str>) -> bool {
        match self {
            Self::Every => true,
            Self::Service(named) => named == service,
            Self::Method(named, rpc) => named == service && method == Some(rpc),
        }
    }
}

impl Setting {
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Deadline(_) => KEYS[0],
            Self::Attempts(_) => KEYS[1],
            Self::RetryCodes(_) => KEYS[2],
            Self::Backoff(_) => KEYS[3],
            Self::BackoffMax(_) => KEYS[4],
            Self::Hedge(_) => KEYS[5],
            Self::WaitForReady(_) => KEYS[6],
            Self::Key(_) => KEYS[7],
            Self::Budget(_) => KEYS[8],
            Self::BudgetRatio(_) => KEYS[9],
            Self::Breaker(_) => KEYS[10],
            Self::MaxInFlight(_) => KEYS[11],
            Self::HealthCheck(_) => KEYS[12],
        }
    }

    fn parse(key: &str, value: &str) -> Result<Self, String> {
        Ok(match key {
            "deadline" => Self::Deadline(duration(value)?),
            "attempts" => Self::Attempts(number(value, ATTEMPTS_MAX)?),
            "retry-codes" => Self::RetryCodes(codes(value)?),
            "backoff" => Self::Backoff(duration(value)?),
            "backoff-max" => Self::BackoffMax(duration(value)?),
            "hedge" => Self::Hedge(switch(value)?),
            "wait-for-ready" => Self::WaitForReady(switch(value)?),
            "key" => Self::Key(value.to_owned()),
            "budget" => Self::Budget(number(value, TOKENS_MAX)?),
            "budget-ratio" => Self::BudgetRatio(ratio(value)?),
            "breaker" => Self::Breaker(breaker(value)?),
            "max-in-flight" => Self::MaxInFlight(max_in_flight(value)?),
            "health-check" => Self::HealthCheck(switch(value)?),
            _ => return Err(format!("unknown key: expected one of {}", KEYS.join(", "))),
        })
    }

    /// Whether it is about all calls to a service together.
    fn is_of_service(&self) -> bool {
        matches!(
            self,
            Self::Budget(_)
                | Self::BudgetRatio(_)
                | Self::Breaker(_)
                | Self::MaxInFlight(_)
                | Self::HealthCheck(_)
        )
    }

    fn set(&self, policies: &mut Policies, policy: &mut Policy, rpc: Option<&Rpc>) {
        match self {
            Self::Deadline(deadline) => policy.deadline = *deadline,
            Self::Attempts(attempts) => policy.attempts = *attempts,
            Self::RetryCodes(codes) => policy.retry_codes = *codes,
            Self::Backoff(backoff) => policy.backoff = *backoff,
            Self::BackoffMax(longest) => policy.backoff_max = *longest,
            Self::Hedge(hedge) => policy.hedge = *hedge,
            Self::WaitForReady(waits) => policy.wait_for_ready = *waits,
            Self::Key(name) => policy.key = rpc.and_then(|rpc| rpc.field(name)),
            Self::Budget(tokens) => policies.budget.tokens = *tokens,
            Self::BudgetRatio(ratio) => policies.budget.ratio = *ratio,
            Self::Breaker(most) => policies.breaker = *most,
            Self::MaxInFlight(most) => policies.max_in_flight = *most,
            Self::HealthCheck(checks) => policies.health_check = *checks,
        }
    }
}

/// The services that `services` are, by their names.
pub(super) fn known(services: &[Service]) -> Known {
    services.iter().map(|service| (service.name(), service.rpcs())).collect()
}

impl PolicyConfig {
    /// Reads `[SERVICE[.METHOD].]KEY=VALUE` where service and method are among `known`.
    pub(super) fn of_known(text: &str, known: &Known) -> Result<Self, String> {
        let read: Self = text.parse()?;
        let (service, method) = match &read.scope {
            Scope::Every => return Ok(read),
            Scope::Service(service) => (service, None),
            Scope::Method(service, method) => (service, Some(method)),
        };
        let Some((_, rpcs)) = known.iter().find(|(name, _)| name == service) else {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            return Err(format!("no service {service}: expected one of {}", names.join(", ")));
        };
        let Some(method) = method else { return Ok(read) };
        let Some(rpc) = rpcs.iter().find(|rpc| rpc.name() == method) else {
            let names: Vec<_> = rpcs.iter().map(Rpc::name).collect();
            return Err(format!("{service} has no method {method}: expected one of {}", names.join(", ")));
        };
        match &read.setting {
            Setting::Key(name) if name != NONE && rpc.field(name).is_none() => {
                let names = rpc.fields.iter().map(|field| field.name).chain([NONE]);
                let names: Vec<_> = names.collect();
                Err(format!("{method} has no field {name} that can be a key: expected {}", names.join(", ")))
            }
            _ => Ok(read),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.scope == other.scope && self.setting.key() == other.setting.key()
    }
}

/// The narrowest word about `key` in the calls to a service, or to one of its methods.
pub(super) fn narrowest<'a>(
    all: &'a [PolicyConfig],
    key: &str,
    (service, method): (&str, Option<&str>),
) -> Option<&'a PolicyConfig> {
    let of_it = all.iter().filter(|said| said.setting.key() == key && said.scope.is_of(service, method));
    of_it.max_by_key(|said| &said.scope)
}

/// What holds for the calls to `service`, where `deadline` is every node's.
pub(super) fn policies(
    all: &[PolicyConfig],
    (service, rpcs): (&str, &[Rpc]),
    deadline: Duration,
) -> Policies {
    let mut policies = Policies::new(deadline);
    let mut of = |rpc: Option<&Rpc>| {
        let mut policy = Policy::new(deadline);
        let said = KEYS.iter().filter_map(|key| narrowest(all, key, (service, rpc.map(Rpc::name))));
        said.for_each(|said| said.setting.set(&mut policies, &mut policy, rpc));
        // The other address would be no home of the key.
        policy.hedge &= policy.key.is_none();
        Arc::new(policy)
    };
    let (every, named) = (of(None), rpcs.iter().filter(|rpc| is_named(all, service, rpc.name())));
    let named = named.map(|rpc| (rpc.path, of(Some(rpc)))).collect();
    Policies { service: every, methods: named, ..policies }
}

fn is_named(all: &[PolicyConfig], service: &str, method: &str) -> bool {
    all.iter().any(|said| matches!(&said.scope, Scope::Method(of, rpc) if of == service && rpc == method))
}

/// All that is said, where the later of `sources` overrides what those before say of the same.
pub(super) fn merged(sources: impl IntoIterator<Item = PolicyConfig>) -> Result<Vec<PolicyConfig>, String> {
    let mut all: Vec<PolicyConfig> = Vec::new();
    for said in sources {
        match all.iter_mut().find(|before| before.is_same(&said)) {
            Some(before) if before.source == said.source => {
                return Err(format!(
                    "--policy {before} and --policy {said} are both given: expected one of them"
                ));
            }
            Some(before) => *before = said,
            None => all.push(said),
        }
    }
    all.sort_by(|one, other| one.scope.cmp(&other.scope));
    Ok(all)
}

impl PartialEq for PolicyConfig {
    fn eq(&self, other: &Self) -> bool {
        self.scope == other.scope && self.setting == other.setting
    }
}

impl Eq for PolicyConfig {}

impl FromStr for PolicyConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected [SERVICE[.METHOD].]KEY=VALUE")?;
        let parts: Vec<_> = key.trim().split('.').collect();
        let (scope, key) = match parts[..] {
            [key] => (Scope::Every, key),
            [service, key] => (Scope::Service(service.to_owned()), key),
            [service, method, key] => (Scope::Method(service.to_owned(), method.to_owned()), key),
            _ => return Err("expected [SERVICE[.METHOD].]KEY=VALUE".to_owned()),
        };
        let setting = Setting::parse(key, value.trim()).map_err(|expected| format!("{key}: {expected}"))?;
        if setting.is_of_service() && matches!(scope, Scope::Method(..)) {
            return Err(format!("{key} is of a service and not of a method: expected [SERVICE.]{key}=VALUE"));
        }
        if matches!((&setting, &scope), (Setting::Key(_), Scope::Every | Scope::Service(_))) {
            return Err(format!("{key} is of a method: expected SERVICE.METHOD.{key}=VALUE"));
        }
        Ok(Self { scope, setting, source: None })
    }
}

impl fmt::Display for PolicyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Every => Ok(()),
            Scope::Service(service) => write!(f, "{service}."),
            Scope::Method(service, method) => write!(f, "{service}.{method}."),
        }?;
        write!(f, "{}={}", self.setting.key(), self.setting)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(time) | Self::Backoff(time) | Self::BackoffMax(time) => {
                humantime::format_duration(*time).fmt(f)
            }
            Self::Attempts(number)
            | Self::Budget(number)
            | Self::Breaker(Some(Breaker::InARow(number)))
            | Self::MaxInFlight(Some(MaxInFlight::Calls(number))) => number.fmt(f),
            Self::RetryCodes(codes) if *codes == Codes::of(&[]) => f.write_str(NONE),
            Self::RetryCodes(codes) => codes.fmt(f),
            Self::Hedge(is_on) | Self::WaitForReady(is_on) | Self::HealthCheck(is_on) => is_on.fmt(f),
            Self::Key(name) => f.write_str(name),
            Self::BudgetRatio(thousandths) => (f64::from(*thousandths) / 1e3).fmt(f),
            Self::Breaker(Some(Breaker::Percent(percent))) => write!(f, "{percent}%"),
            Self::MaxInFlight(Some(MaxInFlight::Adaptive)) => f.write_str("adaptive"),
            Self::Breaker(None) | Self::MaxInFlight(None) => f.write_str(NONE),
        }
    }
}

fn codes(text: &str) -> Result<Codes, String> {
    let by_name = |name: &str| {
        let mut all = (1..=16).map(Code::from_i32);
        all.find(|code| status::code_name(*code) == name.trim())
    };
    let codes = match text {
        NONE => Some(Vec::new()),
        _ => text.split(',').map(by_name).collect(),
    };
    codes
        .map(|codes| Codes::of(&codes))
        .ok_or_else(|| "expected names of codes like UNAVAILABLE, or none".to_owned())
}

/// So many failures in a row, or percent of the calls.
fn breaker(text: &str) -> Result<Option<Breaker>, String> {
    let read = match (text, text.strip_suffix('%')) {
        ("none", _) => Ok(None),
        (_, Some(percent)) => number(percent, 100).map(|percent| Some(Breaker::Percent(percent))),
        (text, None) => number(text, FAILURES_MAX).map(|failures| Some(Breaker::InARow(failures))),
    };
    let expected =
        format!("expected failures in a row from 1 to {FAILURES_MAX}, percent of calls like 50%, or none");
    read.map_err(|_| expected)
}

fn max_in_flight(text: &str) -> Result<Option<MaxInFlight>, String> {
    match text {
        NONE => Ok(None),
        "adaptive" => Ok(Some(MaxInFlight::Adaptive)),
        text => {
            let most = number(text, u32::MAX.into()).map(|most| Some(MaxInFlight::Calls(most)));
            most.map_err(|expected| format!("{expected}, adaptive or none"))
        }
    }
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "expected true or false".to_owned())
}

/// In thousandths.
fn ratio(text: &str) -> Result<u32, String> {
    let thousandths = text.parse::<f64>().ok().map(|ratio| ratio * 1e3).filter(|it| (0.0..=1e3).contains(it));
    let whole = thousandths.filter(|thousandths| (thousandths - thousandths.round()).abs() < 1e-6);
    // Checked to be whole and no more than a thousand.
    let ratio = whole.map(|thousandths| thousandths.round() as u32);
    ratio.ok_or_else(|| "expected a number from 0 to 1 in thousandths, like 0.1".to_owned())
}
