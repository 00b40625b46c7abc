//! What holds for one call, and why: the answer to `--explain`.

use std::fmt::Write as _;

use transport::policy::{Policies, Policy};
use transport::{Idempotency, Rpc, Service};

use super::error::ConfigError;
use super::keys::Config;
use super::policies::{KEYS, NONE, PolicyConfig, Scope, Setting, narrowest};

/// The policy of the calls to `SERVICE/METHOD`, each value with where it comes from.
pub(super) fn explained(
    config: &Config,
    services: &[Service],
    call: &str,
    is_deadline_said: Option<String>,
) -> Result<String, ConfigError> {
    let (service, rpc) = find(services, call).map_err(|expected| {
        ConfigError::Wrong(format!("invalid value '{call}' for '--explain <SERVICE/METHOD>': {expected}"))
    })?;
    let policies = config.policies(service.name(), service.rpcs());
    let policy = policies.methods.iter().find(|(path, _)| *path == rpc.path);
    let policy = policy.map_or(&policies.service, |(_, policy)| policy);
    let mut text = head(config, service, rpc);
    for key in KEYS {
        let said = narrowest(&config.policies, key, (service.name(), Some(rpc.name())));
        let why = match said {
            _ if config.hosts(service.name()) && ["attempts", "hedge", "key"].contains(&key) => {
                "in memory".to_owned()
            }
            _ if key == "hedge" && policy.key.is_some() => "not with a key".to_owned(),
            Some(said) => origin(said),
            None if key == "deadline" => is_deadline_said.clone().unwrap_or_else(|| "default".to_owned()),
            None => "default".to_owned(),
        };
        let (value, key) = (value(key, &policies, policy), format!("{key} ="));
        writeln!(text, "{key:16} {value:14} {why}").expect("a text takes all");
    }
    Ok(text)
}

/// The rpc of this name, or of this path, as answers and logs have it.
fn find<'a>(services: &'a [Service], call: &str) -> Result<(&'a Service, &'a Rpc), String> {
    let mut all = services.iter().flat_map(|service| service.rpcs().iter().map(move |rpc| (service, rpc)));
    if let Some(found) = all.find(|(_, rpc)| rpc.path == call) {
        return Ok(found);
    }
    let (service, method) = call.split_once('/').ok_or("expected SERVICE/METHOD")?;
    let named = services.iter().find(|known| known.name() == service).ok_or_else(|| {
        let names: Vec<_> = services.iter().map(Service::name).collect();
        format!("no service {service}: expected one of {}", names.join(", "))
    })?;
    let rpc = named.rpcs().iter().find(|rpc| rpc.name() == method).ok_or_else(|| {
        let names: Vec<_> = named.rpcs().iter().map(Rpc::name).collect();
        format!("{service} has no method {method}: expected one of {}", names.join(", "))
    })?;
    Ok((named, rpc))
}

/// Where calls go, and what follows from that and from the contract.
fn head(config: &Config, service: &Service, rpc: &Rpc) -> String {
    let addresses: Vec<_> = config.addresses(service.name()).iter().map(ToString::to_string).collect();
    let way = match (config.hosts(service.name()), addresses.is_empty()) {
        (true, _) => "in memory, where it is tried once".to_owned(),
        (false, true) => "nowhere: it has no --peer".to_owned(),
        (false, false) => format!("over gRPC to {}", addresses.join(", ")),
    };
    let repeated = match rpc.idempotency {
        Idempotency::Unknown => {
            "no idempotency_level: it is repeated only with the proof that nobody has handled it, and never hedged"
        }
        Idempotency::NoSideEffects => "idempotency_level NO_SIDE_EFFECTS: it may be repeated",
        Idempotency::Idempotent => "idempotency_level IDEMPOTENT: it may be repeated",
    };
    format!("# {} goes {way}\n# {repeated}\n", rpc.path)
}

fn value(key: &str, policies: &Policies, policy: &Policy) -> String {
    let setting = match key {
        "deadline" => Setting::Deadline(policy.deadline),
        "attempts" => Setting::Attempts(policy.attempts),
        "retry-codes" => Setting::RetryCodes(policy.retry_codes),
        "backoff" => Setting::Backoff(policy.backoff),
        "backoff-max" => Setting::BackoffMax(policy.backoff_max),
        "hedge" => Setting::Hedge(policy.hedge),
        "wait-for-ready" => Setting::WaitForReady(policy.wait_for_ready),
        "key" => Setting::Key(policy.key.map_or(NONE, |field| field.name).to_owned()),
        "budget" => Setting::Budget(policies.budget.tokens),
        "budget-ratio" => Setting::BudgetRatio(policies.budget.ratio),
        "breaker" => Setting::Breaker(policies.breaker),
        "max-in-flight" => Setting::MaxInFlight(policies.max_in_flight),
        _ => Setting::HealthCheck(policies.health_check),
    };
    setting.to_string()
}

fn origin(said: &PolicyConfig) -> String {
    let source = match &said.source {
        None => "--policy".to_owned(),
        Some(source) => source.to_string(),
    };
    match &said.scope {
        Scope::Every => format!("{source}, of every call"),
        Scope::Service(service) => format!("{source}, of {service}"),
        Scope::Method(service, method) => format!("{source}, of {service}.{method}"),
    }
}
