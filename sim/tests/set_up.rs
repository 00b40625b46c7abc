//! A scenario that is wrong under every plan is told so, and what was expected.

use std::time::Duration;

use sim::{HostContext, HostResult, Keep, Load, Scenario, Swarm, Violation, ViolationKind, rehearse_seed};

async fn serves(host: HostContext) -> HostResult {
    let _listener = host.listen(1).await?;
    std::future::pending().await
}

fn violation_of<Fut>(program: fn(HostContext) -> Fut) -> Violation
where
    Fut: Future<Output = HostResult> + 'static,
{
    let nothing = Load::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO);
    let scenario = Scenario::new("set-up", "a mistake", nothing, Swarm::calm());
    let scenario = scenario.host("stock", serves).host("orders", program);
    let rehearsal = rehearse_seed(&scenario, 1, None, Keep::Hash);
    let violation = rehearsal.violation.expect("a mistake is found");
    assert_eq!(violation.kind, ViolationKind::SetUp, "{violation}");
    violation
}

#[test]
fn a_host_that_never_listens_is_named() {
    let violation = violation_of(|_| std::future::pending());
    let expected =
        "orders never listened on a port: expected its program to call HostContext::listen within 4 ms";
    assert_eq!(violation.detail, expected);
}

#[test]
fn a_host_that_fails_while_it_starts_is_named_with_its_error() {
    let violation = violation_of(|_| async { Err("no bank is configured".into()) });
    assert!(violation.detail.starts_with("orders: no bank is configured"), "{violation}");
}

#[test]
fn a_host_that_ends_while_it_starts_is_named() {
    let violation = violation_of(|_| async { Ok(()) });
    assert!(violation.detail.starts_with("orders ended while it started"), "{violation}");
}

#[test]
fn a_host_that_panics_while_it_starts_is_told_with_the_place() {
    let violation = violation_of(|_| async { panic!("no such table") });
    assert!(violation.detail.contains("no such table at "), "{violation}");
}

#[test]
fn a_plan_that_names_an_unknown_host_is_refused() {
    let load = Load::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO);
    let scenario = Scenario::new("set-up", "a mistake", load, Swarm::calm()).host("stock", serves);
    let mut plan = sim::draw_plan(&scenario, 1, None);
    let what = sim::FaultKind::Kill { host: "orders".to_owned() };
    plan.faults.push(sim::Fault { from: Duration::ZERO, lasts: Duration::ZERO, what });
    let violation = sim::rehearse(&scenario, &plan, Keep::Hash).violation.expect("a mistake is found");
    assert_eq!(violation.kind, ViolationKind::SetUp);
    assert!(violation.detail.contains("\"orders\""), "{violation}");
}
