//! A scenario as the simulator plays it: its nodes made ready to start, its clients, its checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use node::{App, Config};
use sim::Beside;
use transport::policy::{MaxInFlight, Policies};
use transport::{CallContext, Placement, Service};

use crate::clients::{self, HEALTH, STRANGER};
use crate::dress::Dressing;
use crate::foreign::Foreign;
use crate::graph::Graph;
use crate::hooks;
use crate::load::Load;
use crate::nodes::{self, Node, Ready, order_option};
use crate::said;
use crate::scenario::{Check, Scenario};
use crate::setting::{InFlight, Setting};
use crate::visits::with_strangers;

/// The scenario as the simulator plays it. Where a node's flags are wrong, or something is called that no host has, it is
/// one that tells so, as a mistake in its set-up.
impl From<Scenario> for sim::Scenario {
    fn from(scenario: Scenario) -> Self {
        let nothing = Self::named(&scenario.name, &scenario.about);
        played(scenario).unwrap_or_else(|mistake| nothing.mistake(mistake))
    }
}

/// What is wrong with it, whatever services there are.
fn mistake(scenario: &mut Scenario) -> Option<String> {
    let mistake = scenario.mistake.take().or_else(|| scenario.load.mistake());
    mistake.or_else(|| nodes::mistake_of_flags(&scenario.flags))
}

fn played(mut scenario: Scenario) -> Result<sim::Scenario, String> {
    mistake(&mut scenario).map_or(Ok(()), Err)?;
    let apps = described(&scenario)?;
    let mut graph = graph(&scenario.nodes, &apps);
    scenario.foreign.iter().for_each(|(host, server)| graph.add_foreign(host, server.service()));
    let flags = flags(&scenario);
    let ready = ready(&scenario, &apps, &graph, &flags)?;
    let Scenario { name, about, load, swarm, options, recovers_within, checks, foreign, nodes, .. } =
        scenario;
    let (stand_in, of_processes) = scenario.stand_in.unzip();
    let of_processes = of_processes.unwrap_or_default();
    let config = ready.first().ok_or("it has no node: expected .node(..) or .nodes(..)")?.1.config();
    let sim_load = with_strangers(with_health_checks(&load, &graph), &load, &graph)?;
    let setting = Arc::new(Setting {
        ways: ways(&graph, load.kinds.iter().map(|kind| kind.service))?,
        limits: said::limits(&flags),
        deadline: config.deadline,
        silence: config.keepalive().timeout,
        greeting: config.keepalive().greeting,
        ping_after: config.keepalive().interval,
        drain_delay: said::duration(&flags, "--drain-delay").unwrap_or_default(),
        drain_timeout: config.drain_timeout,
        workers: config.workers,
        tick: scenario.tick,
        latency_max: scenario.latency_max,
        in_node: in_node(&apps),
        by_key: by_key(configs(&ready), &apps),
        of_several_connections: of_several_connections(&foreign),
        max_in_flight: said(configs(&ready), &apps, |policies| policies.max_in_flight.map(in_flight)),
        by_names: nodes.iter().any(|node| node.by_names),
        health_checked: said(configs(&ready), &apps, |policies| policies.health_check.then_some(())),
        breakers: said(configs(&ready), &apps, |policies| policies.breaker),
        held_up: Duration::ZERO,
        kinds: load.kinds.into(),
        strangers: load.strangers.into(),
        says_timeouts: load.says_timeouts,
        reads_gauges: scenario.gauges_every.is_some(),
        log: scenario.writes_logs.then(|| said::log(&flags)),
        checks_health: load.health_checks.is_some(),
        graph,
    });
    let world = sim::Scenario::new(&name, &about, sim_load, swarm.over(&setting))
        .tick(setting.tick)
        .latency_max(setting.latency_max)
        .recovers_within(recovers_within)
        .request_id_of_line(request_id_of_line);
    let world = if setting.log.is_some() { world.line_as_written(hooks::written) } else { world };
    let world = with_options(world, &options, &setting.graph);
    let checks: Arc<[Check]> = checks.into();
    let dressing = Dressing {
        nodes,
        flags: [flags, of_processes].concat(),
        stand_in,
        checks: Arc::clone(&checks),
        setting: Arc::clone(&setting),
        foreign: foreign.first().map(|(host, _)| host.clone()),
    };
    let world = with_clients(with_hosts(world, ready, foreign), &setting);
    let world = world.dressed(move |tempo| dressing.at(tempo));
    Ok(checks.iter().fold(world, |world, check| check(world, &setting)))
}

/// With the nodes, and those that are none.
fn with_hosts(
    world: sim::Scenario,
    nodes: Vec<(String, Arc<Ready>)>,
    foreign: Vec<(String, Arc<Foreign>)>,
) -> sim::Scenario {
    let world = nodes
        .into_iter()
        .fold(world, |world, (host, node)| world.host(&host, move |host| Arc::clone(&node).run(host)));
    foreign
        .into_iter()
        .fold(world, |world, (host, server)| world.host(&host, move |host| Arc::clone(&server).run(host)))
}

/// The app of each node, to see what is in it.
fn described(scenario: &Scenario) -> Result<Vec<App>, String> {
    let first = |(name, choices): &(String, Vec<String>)| {
        (name.clone(), choices.first().cloned().unwrap_or_default())
    };
    let options = Arc::new(scenario.options.iter().map(first).collect::<BTreeMap<_, _>>());
    scenario.nodes.iter().map(|node| node.described(&options)).collect()
}

fn graph(nodes: &[Node], apps: &[App]) -> Graph {
    let mut graph = Graph::default();
    for (node, app) in nodes.iter().zip(apps) {
        graph.add(&node.host, &node.services, app);
    }
    graph
}

/// The nodes as they can be started, by their hosts.
fn ready(
    scenario: &Scenario,
    apps: &[App],
    graph: &Graph,
    flags: &[String],
) -> Result<Vec<(String, Arc<Ready>)>, String> {
    let ready = |(node, app): (&Node, _)| {
        let ready = node.ready(graph, app, flags, scenario.sync, scenario.gauges_every)?;
        let ready = if scenario.writes_logs { ready.writing_its_log() } else { ready };
        Ok((node.host.clone(), Arc::new(ready)))
    };
    scenario.nodes.iter().zip(apps).map(ready).collect()
}

/// The flags that all nodes have.
fn flags(scenario: &Scenario) -> Vec<String> {
    let workers = ["--workers".to_owned(), scenario.workers.to_string()];
    [scenario.flags.as_slice(), &workers].concat()
}

/// Where calls may come to, by the services that clients call.
fn ways(
    graph: &Graph,
    entries: impl Iterator<Item = &'static str>,
) -> Result<BTreeMap<&'static str, BTreeSet<String>>, String> {
    let way = |entry: &'static str| {
        let way = graph.way(entry);
        if way.is_empty() {
            let expected = graph.services().collect::<Vec<_>>().join(", ");
            return Err(format!("clients call {entry}, and no host has it: expected one of {expected}"));
        }
        Ok((entry, way.into_iter().map(str::to_owned).collect()))
    };
    entries.map(way).collect()
}

/// The configurations of the nodes.
fn configs(ready: &[(String, Arc<Ready>)]) -> impl Iterator<Item = &Config> {
    ready.iter().map(|(_, ready)| ready.config())
}

/// The services of which a method is called by a key.
fn by_key<'a>(configs: impl Iterator<Item = &'a Config>, apps: &[App]) -> Vec<&'static str> {
    let services: Vec<_> = apps.iter().flat_map(App::services).collect();
    let of_one = |config: &Config| {
        let goes_by_key = |service: &&&Service| {
            let policies = config.policies(service.name(), service.rpcs());
            policies.methods.iter().any(|(_, policy)| policy.key.is_some())
        };
        services.iter().filter(goes_by_key).map(|service| service.name()).collect::<Vec<_>>()
    };
    configs.flat_map(of_one).collect()
}

/// The hosts to which there may be several connections.
fn of_several_connections(foreign: &[(String, Arc<Foreign>)]) -> Vec<String> {
    let several = foreign.iter().filter(|(_, server)| server.takes_few_at_a_time());
    several.map(|(host, _)| host.clone()).collect()
}

/// What an adaptive limit of calls in flight is at the least and at the most.
const ADAPTIVE: InFlight = InFlight { least: 4, most: 1000 };

fn in_flight(limit: MaxInFlight) -> InFlight {
    match limit {
        MaxInFlight::Calls(most) => InFlight { least: most as usize, most: most as usize },
        MaxInFlight::Adaptive => ADAPTIVE,
    }
}

/// What the policies of clients say, by the service that is called: of those of which `told` finds something in them.
fn said<'a, T>(
    configs: impl Iterator<Item = &'a Config>,
    apps: &[App],
    told: impl Fn(&Policies) -> Option<T>,
) -> BTreeMap<&'static str, T> {
    let services: Vec<_> = apps.iter().flat_map(App::services).collect();
    let of_one = |config: &Config| {
        let said = |service: &&Service| {
            let policies = config.policies(service.name(), service.rpcs());
            Some((service.name(), told(&policies)?))
        };
        services.iter().filter_map(said).collect::<Vec<_>>()
    };
    configs.flat_map(of_one).collect()
}

/// The services of which there is one in a node.
fn in_node(apps: &[App]) -> Vec<&'static str> {
    let services = apps.iter().flat_map(App::services);
    services.filter(|service| service.placement() == Placement::InNode).map(Service::name).collect()
}

fn with_options(world: sim::Scenario, options: &[(String, Vec<String>)], graph: &Graph) -> sim::Scenario {
    let world = options.iter().fold(world, |world, (name, choices)| {
        world.option(name, &choices.iter().map(String::as_str).collect::<Vec<_>>())
    });
    graph.replicated().fold(world, |world, service| {
        world.option(&order_option(service), &graph.hosts_of(service).collect::<Vec<_>>())
    })
}

/// The load, with checks of the health of all nodes beside it.
fn with_health_checks(load: &Load, graph: &Graph) -> sim::Load {
    /// How long who asks for the health of a node waits.
    const PATIENCE: Duration = Duration::from_millis(300);
    let Some((count, over)) = load.health_checks else { return load.load.clone() };
    let kinds = graph.nodes().flat_map(clients::health_kinds).collect();
    load.load.clone().beside(Beside::new(HEALTH, kinds, (count, over), PATIENCE))
}

fn with_clients(world: sim::Scenario, setting: &Arc<Setting>) -> sim::Scenario {
    let [rest, grpc, strangers] = [(); 3].map(|()| Arc::clone(setting));
    world
        .client("rest", move |host| clients::rest(host, Arc::clone(&rest)))
        .client("grpc", move |host| clients::grpc(host, Arc::clone(&grpc)))
        .client(HEALTH, clients::health)
        .client(STRANGER, move |host| clients::strangers(host, Arc::clone(&strangers)))
}

/// The id of the call that is handled as a line is logged.
fn request_id_of_line() -> Option<String> {
    CallContext::with_current(|context| context.map(|context| context.request_id().as_str().to_owned()))
}
