//! A rehearsal of a node that goes on as before when it is told to drain, for those who notice late.

use rehearse::{Family, Load, Ms as _, Scenario, Swarm};

use crate::scenarios;

/// The scenario of a node with a delay before its drain: whoever loses its connection meanwhile finds it as it was.
pub(crate) fn delayed() -> Scenario {
    let swarm = Swarm::new(3..=6, 500.ms(), 600.ms()..=1400.ms()).link("service2", "service1");
    let swarm = swarm.host("service1").host("service2");
    let load = Load::new(60, 1500.ms(), 300.ms()..=800.ms()).health_checks(20, 1500.ms());
    scenarios::two_nodes(
        "delayed",
        "a node that drains goes on for a while, and connections to it are lost",
        scenarios::greetings(load),
        swarm.only(&[Family::Drain, Family::Reset, Family::SlowHandler]),
        scenarios::ADMITTED,
    )
    .flags(&["--drain-delay", "300ms", "--drain-timeout", "400ms"])
}
