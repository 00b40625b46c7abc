//! Which faults may happen: the swarm of the simulator, which here can be everywhere.

use std::ops::RangeInclusive;
use std::time::Duration;

use sim::Family;

use crate::setting::Setting;

/// Which faults may happen, where, and for how long.
#[derive(Debug, Clone)]
pub struct Swarm {
    swarm: sim::Swarm,
    is_everywhere: bool,
}

/// The families that concern the link between two hosts.
const OF_LINKS: &[Family] =
    &[Family::Partition, Family::PartitionOneWay, Family::Hold, Family::SlowLink, Family::Reset];

impl Swarm {
    /// So many faults, beginning within a time, each lasting as long as the range has it, of all families but those that
    /// only some hosts feel ([`Family::is_of_any_host`]). It knows no host yet.
    #[must_use]
    pub fn new(count: RangeInclusive<usize>, within: Duration, lasts: RangeInclusive<Duration>) -> Self {
        Self { swarm: sim::Swarm::new(count, within, lasts), is_everywhere: false }
    }

    /// No faults at all.
    #[must_use]
    pub fn calm() -> Self {
        Self { swarm: sim::Swarm::calm(), is_everywhere: false }
    }

    /// Draws from these families only.
    #[must_use]
    pub fn only(self, families: &[Family]) -> Self {
        Self { swarm: self.swarm.only(families), ..self }
    }

    /// Draws from none of these families. Services whose answers say what time it is are rehearsed without wrong clocks,
    /// since those may change nothing: `without(&[Family::ClockSkew, Family::ClockDrift, Family::ClockJump])`.
    #[must_use]
    pub fn without(self, families: &[Family]) -> Self {
        Self { swarm: self.swarm.without(families), ..self }
    }

    /// Draws from the families only that concern links.
    #[must_use]
    pub fn of_links(self) -> Self {
        self.only(OF_LINKS)
    }

    /// Adds a link on which link faults may happen; clients are on the host [`CLIENTS`](sim::CLIENTS).
    #[must_use]
    pub fn link(self, a: &str, b: &str) -> Self {
        Self { swarm: self.swarm.link(a, b), ..self }
    }

    /// Adds a host on which host faults may happen.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        Self { swarm: self.swarm.host(host), ..self }
    }

    /// Lets the faults come one after the other, and the hosts have their turns, with so much time between two at least.
    #[must_use]
    pub fn in_turn(self, pause: Duration) -> Self {
        Self { swarm: self.swarm.in_turn(pause), ..self }
    }

    /// Adds all nodes, and all links over which calls go: between nodes that call each other, and between clients
    /// and the nodes that they call.
    #[must_use]
    pub fn everywhere(self) -> Self {
        Self { is_everywhere: true, ..self }
    }

    /// The swarm in a world of these nodes.
    pub(crate) fn over(self, setting: &Setting) -> sim::Swarm {
        if !self.is_everywhere {
            return self.swarm;
        }
        let links = setting.graph.links(&setting.entries());
        let swarm = links.iter().fold(self.swarm, |swarm, (a, b)| swarm.link(a, b));
        setting.graph.nodes().fold(swarm, sim::Swarm::host)
    }
}
