//! Rehearsals of what nodes write to their logs: other rehearsals see what is said, whatever becomes of it.

use rehearse::{CLIENTS, Family, Load, Ms as _, Picks, Scenario, Swarm, drawn};

use crate::scenarios;

/// The scenario of logs, of any format and filter.
pub(crate) fn logged() -> sim::Scenario {
    drawn("logged", "logs have any format and filter, and connections are lost", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let filter = picks.pick("--log", &["info", "warn,access=info", "error", "info,access=off,node=warn"]);
    let format = picks.pick("--log-format", &["auto", "text", "json"]);
    let swarm = Swarm::new(1..=4, 300.ms(), 20.ms()..=300.ms()).link("service2", "service1");
    let swarm = swarm.link(CLIENTS, "service2").host("service1").only(&[
        Family::Reset,
        Family::Kill,
        Family::PanickingHandler,
        Family::FullService,
    ]);
    let load = Load::new(40, 300.ms(), 200.ms()..=800.ms()).any_ids().health_checks(10, 400.ms());
    let load = scenarios::greetings(load);
    scenarios::two_nodes("", "", load, swarm, scenarios::ADMITTED)
        .flags(&["--log", filter, "--log-format", format])
        .writes_logs()
}
