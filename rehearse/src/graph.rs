//! Who hosts what and who calls whom: the ways of calls, derived from the apps and the contracts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use node::App;
use sim::CLIENTS;
use transport::contract::Idempotency;

/// The hosts with their services, and the services with those that they call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    hosts: Vec<(String, Vec<&'static str>)>,
    /// Those of the hosts that are no nodes.
    foreign: Vec<String>,
    callees: BTreeMap<&'static str, Vec<&'static str>>,
    contracts: Arc<Contracts>,
}

/// Whether a call may be made again when nobody knows what became of it, by its path: of all rpcs of all apps.
pub(crate) type Contracts = BTreeMap<&'static str, bool>;

impl Graph {
    /// Adds a host with these services of `app`.
    pub(crate) fn add(&mut self, host: &str, services: &[String], app: &App) {
        let is_here = |name: &str| services.iter().any(|service| service == name);
        let hosted = app.services().iter().filter(|service| is_here(service.name()));
        let mut names = Vec::new();
        for service in hosted {
            names.push(service.name());
            self.callees.insert(service.name(), service.callees().to_vec());
        }
        let rpcs = app.services().iter().flat_map(|service| service.rpcs());
        Arc::make_mut(&mut self.contracts)
            .extend(rpcs.map(|rpc| (rpc.path, rpc.idempotency != Idempotency::Unknown)));
        self.hosts.push((host.to_owned(), names));
    }

    /// Adds a host which is no node, and has this service; it calls nobody.
    pub(crate) fn add_foreign(&mut self, host: &str, service: &'static str) {
        self.callees.entry(service).or_default();
        self.hosts.push((host.to_owned(), vec![service]));
        self.foreign.push(host.to_owned());
    }

    /// What contracts say of making calls again.
    pub(crate) fn contracts(&self) -> &Arc<Contracts> {
        &self.contracts
    }

    /// The names of the nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        let hosts = self.hosts.iter().map(|(host, _)| host.as_str());
        hosts.filter(|host| !self.is_foreign(host))
    }

    /// Whether there are hosts that are no nodes.
    pub(crate) fn has_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// Whether `host` is no node.
    #[must_use]
    pub(crate) fn is_foreign(&self, host: &str) -> bool {
        self.foreign.iter().any(|foreign| foreign == host)
    }

    /// The hosts on which `service` runs.
    pub(crate) fn hosts_of(&self, service: &str) -> impl Iterator<Item = &str> {
        let here = self.hosts.iter().filter(move |(_, services)| services.contains(&service));
        here.map(|(host, _)| host.as_str())
    }

    /// Whether `name` leads to all hosts of `service`, in whichever order.
    pub(crate) fn leads_to(&self, name: &str, service: &str) -> bool {
        name.split('.').collect::<BTreeSet<_>>() == self.hosts_of(service).collect()
    }

    /// The services that any host has.
    pub(crate) fn services(&self) -> impl Iterator<Item = &'static str> {
        self.callees.keys().copied()
    }

    /// The services that run on several hosts.
    pub(crate) fn replicated(&self) -> impl Iterator<Item = &'static str> {
        self.callees.keys().copied().filter(|service| self.hosts_of(service).count() > 1)
    }

    /// The services that `service` calls.
    #[must_use]
    pub(crate) fn callees(&self, service: &str) -> &[&'static str] {
        self.callees.get(service).map_or(&[], Vec::as_slice)
    }

    /// Whether any service calls `service`.
    #[must_use]
    pub(crate) fn is_called(&self, service: &str) -> bool {
        self.callees.values().flatten().any(|callee| *callee == service)
    }

    /// Whether `service` runs on `host`.
    #[must_use]
    pub(crate) fn is_on(&self, service: &str, host: &str) -> bool {
        self.hosts_of(service).any(|other| other == host)
    }

    /// The services of `host`.
    #[must_use]
    pub(crate) fn services_on(&self, host: &str) -> &[&'static str] {
        let found = self.hosts.iter().find(|(name, _)| name == host);
        found.map_or(&[], |(_, services)| services)
    }

    /// The services that those of `host` call on other hosts.
    pub(crate) fn callees_elsewhere(&self, host: &str) -> Vec<&'static str> {
        let all = self.services_on(host).iter().flat_map(|service| self.callees(service));
        let mut callees: Vec<_> = all.copied().filter(|callee| !self.is_on(callee, host)).collect();
        callees.sort_unstable();
        callees.dedup();
        callees
    }

    /// The hosts that a call from `caller` to `service` may come to: itself, if the service is there.
    pub(crate) fn targets<'a>(&'a self, caller: &str, service: &str) -> impl Iterator<Item = &'a str> {
        let is_here = self.is_on(service, caller);
        self.hosts_of(service).filter(move |host| !is_here || *host == caller)
    }

    /// The host that clients call for `service`: of several, the number of the request decides.
    #[must_use]
    pub(crate) fn entry(&self, service: &str, request: u32) -> Option<&str> {
        let count = self.hosts_of(service).count().max(1);
        self.hosts_of(service).nth(request as usize % count)
    }

    /// All hosts that a call to `service` may come to, itself and by those that it makes.
    #[must_use]
    pub(crate) fn way(&self, service: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        if let Some((service, _)) = self.callees.get_key_value(service) {
            self.hosts_of(service).for_each(|host| self.follow(host, service, &mut seen));
        }
        seen.into_iter().map(|(host, _)| host).collect()
    }

    fn follow<'a>(
        &'a self,
        host: &'a str,
        service: &'static str,
        seen: &mut BTreeSet<(&'a str, &'static str)>,
    ) {
        if !seen.insert((host, service)) {
            return;
        }
        for callee in self.callees(service) {
            self.targets(host, callee).for_each(|target| self.follow(target, callee, seen));
        }
    }

    /// All links over which calls go: between hosts that call each other, and between the clients and the hosts
    /// of `entries`.
    #[must_use]
    pub(crate) fn links(&self, entries: &[&str]) -> BTreeSet<(String, String)> {
        let mut links = BTreeSet::new();
        for host in entries.iter().flat_map(|service| self.hosts_of(service)) {
            links.insert((CLIENTS.to_owned(), host.to_owned()));
        }
        for (host, services) in &self.hosts {
            let callees = services.iter().flat_map(|service| self.callees(service));
            for target in callees.flat_map(|callee| self.targets(host, callee)) {
                let is_known = links.contains(&(target.to_owned(), host.clone()));
                if target != host && !is_known {
                    links.insert((host.clone(), target.to_owned()));
                }
            }
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A front that calls the stock and the bank; the bank calls the stock. The stock has a replica.
    fn graph() -> Graph {
        let hosts =
            [("web", vec!["front"]), ("bank", vec!["bank"]), ("one", vec!["stock"]), ("two", vec!["stock"])];
        let hosts = hosts.map(|(host, services)| (host.to_owned(), services)).into();
        let callees = [("front", vec!["stock", "bank"]), ("bank", vec!["stock"]), ("stock", vec![])].into();
        Graph { hosts, callees, ..Graph::default() }
    }

    #[test]
    fn the_way_of_a_call_is_all_that_its_services_call() {
        let graph = graph();
        assert_eq!(graph.way("front"), BTreeSet::from(["web", "bank", "one", "two"]));
        assert_eq!(graph.way("bank"), BTreeSet::from(["bank", "one", "two"]));
        assert_eq!(graph.way("nobody"), BTreeSet::new());
    }

    #[test]
    fn a_service_on_the_same_host_is_called_there() {
        let mut graph = graph();
        graph.hosts[0].1.push("stock");
        assert_eq!(graph.targets("web", "stock").collect::<Vec<_>>(), ["web"]);
        assert_eq!(graph.targets("bank", "stock").count(), 3);
    }

    #[test]
    fn links_are_between_those_that_call_each_other() {
        let links = graph().links(&["front"]);
        let links: Vec<_> = links.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let expected = [
            ("bank", "one"),
            ("bank", "two"),
            ("clients", "web"),
            ("web", "bank"),
            ("web", "one"),
            ("web", "two"),
        ];
        assert_eq!(links, expected);
    }

    #[test]
    fn requests_take_the_replicas_in_turn() {
        let graph = graph();
        assert_eq!([1, 2, 3].map(|id| graph.entry("stock", id)), [Some("two"), Some("one"), Some("two")]);
        assert_eq!(graph.entry("nobody", 1), None);
    }
}
