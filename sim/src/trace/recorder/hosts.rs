//! Which hosts there are, which of them runs, and how they are connected.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use crate::host::process::HostShared;
use crate::host::wire::Wire;

/// All hosts, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Hosts {
    list: Vec<HostState>,
    current: Option<usize>,
    /// The name of what is on no host: the simulator itself.
    nowhere: Arc<str>,
    wires: Vec<Weak<Wire>>,
}

/// One host, as the simulator knows it.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) name: Arc<str>,
    pub(crate) address: IpAddr,
    pub(crate) shared: Arc<HostShared>,
    pub(crate) status: Status,
}

/// Whether a host's machine and process are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    /// The process is gone, the machine refuses connections.
    Stopped,
    /// The machine is gone, and nothing answers.
    Dark,
}

impl Default for Hosts {
    fn default() -> Self {
        Self { list: Vec::new(), current: None, nowhere: "".into(), wires: Vec::new() }
    }
}

impl Hosts {
    pub(crate) fn add(&mut self, name: Arc<str>, address: IpAddr, shared: Arc<HostShared>) {
        self.list.push(HostState { name, address, shared, status: Status::Running });
    }

    pub(crate) fn all(&self) -> &[HostState] {
        &self.list
    }

    pub(crate) fn get(&self, host: usize) -> &HostState {
        &self.list[host]
    }

    pub(crate) fn set_status(&mut self, host: usize, status: Status) {
        self.list[host].status = status;
    }

    pub(crate) fn are_all_up(&self) -> bool {
        self.list.iter().all(|host| host.status == Status::Running)
    }

    /// The host that runs; `None` while the simulator itself does something.
    pub(crate) fn current(&self) -> Option<usize> {
        self.current
    }

    /// The name of the host that runs; empty for the simulator.
    pub(super) fn current_name(&self) -> Arc<str> {
        Arc::clone(self.current.map_or(&self.nowhere, |host| &self.list[host].name))
    }

    pub(super) fn enter(&mut self, host: Option<usize>) {
        self.current = host;
    }

    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|host| &*host.name == name)
    }

    /// The host with this address. The loopback address is that of the host which runs.
    pub(crate) fn at(&self, address: IpAddr) -> Option<usize> {
        let found = self.list.iter().position(|host| host.address == address);
        found.or(self.current.filter(|_| address.is_loopback()))
    }

    /// Adds one end of a connection, for as long as it lives.
    pub(crate) fn add_wire(&mut self, wire: &Arc<Wire>) {
        self.wires.push(Arc::downgrade(wire));
    }

    /// The ends of connections that live.
    pub(crate) fn wires(&mut self) -> impl Iterator<Item = Arc<Wire>> {
        self.wires.retain(|wire| wire.strong_count() > 0);
        self.wires.iter().filter_map(Weak::upgrade)
    }
}
