//! Rehearsals of calls of which some can be done without, and are refused first.

use rehearse::{Family, Ms as _, Picks, Scenario, Swarm, drawn};

use crate::scenarios::{self, ADMITTED};

/// The scenario of calls of which some can be done without.
pub(crate) fn shed() -> sim::Scenario {
    drawn("shed", "calls that can be done without, against a slow link and a slow service1", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let admitted = picks.pick("--max-calls", &[ADMITTED, 5, 2]);
    let swarm = Swarm::new(1..=2, 250.ms(), 100.ms()..=700.ms());
    let load = scenarios::load().metadata(scenarios::criticality());
    let scenario = match picks.pick("services", &["apart", "together"]) {
        "apart" => {
            let swarm = swarm.link("service2", "service1").host("service1");
            let swarm = swarm.only(&[Family::SlowLink, Family::SlowHandler, Family::Pause]);
            scenarios::two_nodes("shed", "", load, swarm, admitted)
        }
        _ => {
            let swarm = swarm.host("both").only(&[Family::SlowHandler, Family::Pause]);
            let both = Scenario::new("shed", "", load, swarm).node(
                "both",
                &["service1", "service2"],
                scenarios::app,
            );
            scenarios::greets(both, admitted)
        }
    };
    scenario.flags(&["--rest-headers", "x-criticality"])
}
