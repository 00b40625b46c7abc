//! The same seed is the same world.

#[path = "toy/scenarios.rs"]
mod scenarios;
mod toy;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sim::{Keep, Load, Scenario, Swarm, ViolationKind, rehearse_seed};

fn hashes(scenario: &Scenario) -> Vec<u64> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|seed| scope.spawn(move || rehearse_seed(scenario, seed, None, Keep::Hash).trace_hash))
            .collect();
        runs.into_iter().map(|run| run.join().expect("a run does not panic")).collect()
    })
}

#[test]
fn eight_seeds_at_once_leave_the_same_eight_traces_twice() {
    for scenario in scenarios::all() {
        let first = hashes(&scenario);
        assert_eq!(first, hashes(&scenario), "{}", scenario.name());
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 8, "{}", scenario.name());
    }
}

#[test]
fn keeping_the_trace_does_not_change_it() {
    for scenario in scenarios::all() {
        let hash = |keep| rehearse_seed(&scenario, 3, None, keep).trace_hash;
        assert_eq!(hash(Keep::Hash), hash(Keep::Trace));
    }
}

#[test]
fn everything_that_happens_has_a_host() {
    for scenario in scenarios::all() {
        let events = rehearse_seed(&scenario, 3, None, Keep::Trace).events;
        let homeless = |event: &&sim::Event| event.host.is_empty() && event.line().is_some();
        assert_eq!(events.iter().find(homeless), None);
        for host in ["service1", "service2", sim::CLIENTS] {
            assert!(events.iter().any(|event| &*event.host == host), "{host} is not in the trace");
        }
    }
}

#[test]
fn a_thread_started_by_a_host_fails_the_seed_and_is_named() {
    let calm = &scenarios::all()[0];
    let violation =
        rehearse_seed(calm, 1, Some("starts-a-thread"), Keep::Hash).violation.expect("a violation");
    assert!(violation.detail.contains("spawn_blocking"), "{violation}");
}

/// What no seed determines: something that outlives the simulation.
async fn forgets_nothing(host: sim::HostContext) -> sim::HostResult {
    let _listener = host.listen(1).await?;
    static STARTS: AtomicU32 = AtomicU32::new(0);
    tracing::info!(start = STARTS.fetch_add(1, Ordering::Relaxed), "started");
    std::future::pending().await
}

#[test]
fn a_run_that_differs_from_the_first_is_noticed_and_the_event_named() {
    let nothing = Load::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO);
    let leaky = Scenario::new("leaky", "a static", nothing, Swarm::calm()).host("host", forgets_nothing);
    let plan = rehearse_seed(&leaky, 1, None, Keep::Hash).plan;
    let violation = sim::rehearse_twice(&leaky, &plan).violation.expect("a violation");
    assert_eq!(violation.promise, "the same seed leaves the same trace");
    assert_eq!(violation.kind, ViolationKind::Comparison);
    assert!(violation.detail.contains("started start="), "{violation}");
    let reasons = violation.detail.split_once("\n  usual reasons: ").expect("they are told").1;
    assert!(reasons.contains("tokio watch") && reasons.contains("a static"), "{violation}");
}
