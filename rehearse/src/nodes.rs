//! The nodes of a scenario: where each service is, and the flags that follow from that.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use node::hooks::Pause;
use node::log::LogStyle;
use node::{App, Config, Hooks};
use sim::{HostContext, HostResult, Places};
use tokio::time::sleep;
use transport::{Gauges, Service};

use crate::clients::{GRPC_PORT, HTTP_PORT};
use crate::facts::{GaugesRead, NodeStarted, NodeStopped};
use crate::graph::{Contracts, Graph};
use crate::hooks::{Disturbed, has_style, told_carrier};
use crate::host::Host;
use crate::machine::Simulated;

/// How often a node looks what it holds, when nothing is asked any more.
const GAUGES_EVERY: Duration = Duration::from_millis(10);

/// Makes the app of a host.
pub(crate) type Make = Arc<dyn Fn(&Host) -> App + Send + Sync>;

/// One node as the scenario describes it.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) services: Vec<String>,
    pub(crate) make: Make,
    /// Whether it knows others by names that lead to all hosts of a service.
    pub(crate) by_names: bool,
}

/// A node that can be started: with a configuration for each order of its callees' replicas.
pub(crate) struct Ready {
    make: Make,
    services: Vec<&'static str>,
    /// The options that say which replica of a callee comes first, and the configurations by their choices.
    orders: Vec<String>,
    configs: BTreeMap<Vec<String>, Config>,
    contracts: Arc<Contracts>,
    /// How long a sync of the store of idempotency keys takes.
    sync: Duration,
    /// How often it tells what it holds while calls are made, if it does.
    gauges_every: Option<Duration>,
    /// How it logs, where its lines are looked at.
    log: Option<LogStyle>,
}

/// The option that says which host of a service is asked first.
pub(crate) fn order_option(service: &str) -> String {
    format!("first of {service}")
}

/// What is wrong with flags that a scenario gives its nodes: those that say where what is follow from the scenario.
pub(crate) fn mistake_of_flags(flags: &[String]) -> Option<String> {
    const OURS: [(&str, &str); 5] = [
        ("--http", "expected none, for clients are to find it"),
        ("--grpc", "expected none, for clients and nodes are to find it"),
        ("--services", "expected .node(..) with the services of each"),
        ("--peer", "expected .node(..) or .foreign(..) with who is called"),
        ("--workers", "expected .workers(..)"),
    ];
    let is_it = |flag: &str, ours: &str| flag.split('=').next() == Some(ours);
    let (ours, expected) = OURS.iter().find(|(ours, _)| flags.iter().any(|flag| is_it(flag, ours)))?;
    Some(format!("the rehearsal itself sets the flag {ours} of its nodes: {expected}"))
}

impl Node {
    /// Its app as it is when nothing runs, to see what is in it.
    ///
    /// # Errors
    /// When it cannot be made, or has not all services that the node is to have.
    pub(crate) fn described(&self, options: &Arc<BTreeMap<String, String>>) -> Result<App, String> {
        let host = &self.host;
        let app = sim::caught(|| (self.make)(&Host::described(host, options)))
            .map_err(|panic| format!("the app of {host} cannot be made: {panic}"))?;
        let names: Vec<_> = app.services().iter().map(Service::name).collect();
        match self.services.iter().find(|service| !names.contains(&service.as_str())) {
            Some(service) => {
                let expected = names.join(", ");
                Err(format!("{host} is to have {service}, which its app has not: expected one of {expected}"))
            }
            None => Ok(app),
        }
    }

    /// Reads its configurations.
    ///
    /// # Errors
    /// When its flags are wrong, or it calls a service that no host has.
    pub(crate) fn ready(
        &self,
        graph: &Graph,
        app: &App,
        flags: &[String],
        sync: Duration,
        gauges_every: Option<Duration>,
    ) -> Result<Ready, String> {
        let services = graph.services_on(&self.host).to_vec();
        let callees = graph.callees_elsewhere(&self.host);
        if let Some(callee) = callees.iter().find(|callee| graph.hosts_of(callee).next().is_none()) {
            let host = &self.host;
            return Err(format!(
                "{host} calls {callee}, and no host has it: expected .node(..) with {callee}"
            ));
        }
        let mut configs = BTreeMap::new();
        for chosen in choices(graph, &callees) {
            let mut all = self.flags(graph, &callees, &chosen, &|hosts| match self.by_names {
                true => format!("dns:///{}:{GRPC_PORT}", hosts.join(".")),
                false => listed(hosts, |host| format!("{host}:{GRPC_PORT}")),
            });
            let listen = [("--http", HTTP_PORT), ("--grpc", GRPC_PORT)];
            all.extend(
                listen.into_iter().flat_map(|(flag, port)| [flag.to_owned(), format!("0.0.0.0:{port}")]),
            );
            all.extend_from_slice(flags);
            let refused = |error| format!("{} refuses its flags: {error}", self.host);
            configs.insert(chosen, Config::from_flags(app, &all).map_err(refused)?);
        }
        let orders = orders(graph, &callees);
        let (make, contracts) = (Arc::clone(&self.make), Arc::clone(graph.contracts()));
        Ok(Ready { make, services, orders, configs, contracts, sync, gauges_every, log: None })
    }

    /// The flags that say where what is, for a process that finds others at `places`.
    pub(crate) fn flags_of(&self, graph: &Graph, places: &Places<'_>) -> Vec<String> {
        let callees = graph.callees_elsewhere(&self.host);
        let chosen = orders(graph, &callees);
        let chosen: Vec<_> =
            chosen.iter().map(|order| places.option(order).unwrap_or_default().to_owned()).collect();
        self.flags(graph, &callees, &chosen, &|hosts| {
            listed(hosts, |host| places.address(host, GRPC_PORT).to_string())
        })
    }

    /// The flags that say where what is; `chosen` are the hosts that come first, for each callee with replicas, and
    /// `address` says where hosts serve gRPC.
    fn flags(
        &self,
        graph: &Graph,
        callees: &[&'static str],
        chosen: &[String],
        address: &dyn Fn(&[&str]) -> String,
    ) -> Vec<String> {
        let mut flags = vec!["--services".to_owned(), self.services.join(",")];
        let mut chosen = chosen.iter();
        for callee in callees {
            let mut hosts: Vec<_> = graph.hosts_of(callee).collect();
            if hosts.len() > 1 {
                let first = chosen.next().and_then(|first| hosts.iter().position(|host| host == first));
                hosts.rotate_left(first.unwrap_or_default());
            }
            flags.extend(["--peer".to_owned(), format!("{callee}={}", address(&hosts))]);
        }
        flags
    }
}

/// A list of addresses, one for each host.
fn listed(hosts: &[&str], address: impl Fn(&str) -> String) -> String {
    hosts.iter().map(|host| format!("http://{}", address(host))).collect::<Vec<_>>().join(",")
}

/// The options that say which host of each callee with replicas comes first.
fn orders(graph: &Graph, callees: &[&str]) -> Vec<String> {
    let replicated = callees.iter().filter(|callee| graph.hosts_of(callee).count() > 1);
    replicated.map(|callee| order_option(callee)).collect()
}

/// Each way to say which host of each callee with replicas comes first.
fn choices(graph: &Graph, callees: &[&str]) -> Vec<Vec<String>> {
    let replicated = callees.iter().filter(|callee| graph.hosts_of(callee).count() > 1);
    replicated.fold(vec![Vec::new()], |ways, callee| {
        let extended = ways.iter().flat_map(|way| {
            graph.hosts_of(callee).map(|host| way.iter().cloned().chain([host.to_owned()]).collect())
        });
        extended.collect()
    })
}

impl Ready {
    /// One of its configurations: they differ only in where others are.
    pub(crate) fn config(&self) -> &Config {
        self.configs.values().next().expect("there is at least one order of no replicas")
    }

    /// The same, whose lines are looked at.
    pub(crate) fn writing_its_log(self) -> Self {
        Self { log: Some(LogStyle::of(self.config(), false)), ..self }
    }

    /// Runs the node on `host` until it is told to drain, and has.
    pub(crate) async fn run(self: Arc<Self>, host: HostContext) -> HostResult {
        let chosen = |option: &String| host.option(option).unwrap_or_default().to_owned();
        let chosen: Vec<_> = self.orders.iter().map(chosen).collect();
        // A plan may leave an option out: then the first order counts.
        let config = self.configs.get(&chosen).unwrap_or_else(|| self.config()).clone();
        let app = (self.make)(&Host::simulated(host.clone()));
        self.log.iter().for_each(|style| has_style(host.name(), style.clone()));
        sim::tell(NodeStarted { services: self.services.clone() }, None);
        let (machine, gauges) = (Simulated(host.clone()), Gauges::new());
        tokio::select! {
            biased;
            ended = node::run(app, config, &machine, self.hooks(&gauges), host.drain()) => ended?,
            never = tell_gauges(&host, &gauges, self.gauges_every) => match never {},
        }
        sim::tell(NodeStopped, None);
        Ok(())
    }

    fn hooks(&self, gauges: &Gauges) -> Hooks {
        let (contracts, sync) = (Arc::clone(&self.contracts), self.sync);
        Hooks {
            interceptor: Some(Arc::new(|worker| Arc::new(Disturbed { worker }))),
            carry: Some(Arc::new(move |callee, carrier| told_carrier(callee, carrier, &contracts))),
            before_sync: (!sync.is_zero()).then(|| -> Arc<Pause> { Arc::new(move || Box::pin(sleep(sync))) }),
            gauges: gauges.clone(),
        }
    }
}

/// Tells what the node holds once nothing is asked any more, and again whenever that has changed; before that `every` so
/// often, if at all.
async fn tell_gauges(host: &HostContext, gauges: &Gauges, every: Option<Duration>) -> Infallible {
    let early = async {
        let Some(every) = every else { return pending().await };
        loop {
            sleep(every).await;
            sim::tell(GaugesRead(gauges.read()), None);
        }
    };
    tokio::select! {
        biased;
        () = host.settled() => {}
        () = early => {}
    }
    let mut told = None;
    loop {
        let reading = gauges.read();
        if told.as_ref() != Some(&reading) {
            sim::tell(GaugesRead(reading.clone()), None);
            told = Some(reading);
        }
        sleep(GAUGES_EVERY).await;
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("host", &self.host)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}
