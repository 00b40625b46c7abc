//! Mistakes in the set-up of a scenario: each is told as one, with what is wrong and what was expected.

use std::time::Duration;

use node::App;
use probe_contract::AddRequest;
use probe_contract::counter::AddLater;
use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::service2::SayHello;
use protos::app::grpc::{ProcessNameRequest, SayHelloRequest};
use rehearse::proptest::prelude::*;
use rehearse::strangers::Stranger;
use rehearse::{Expect, Family, Host, Load, Ms as _, Scenario, Swarm, Via, drawn, matching, promises};
use sim::{Keep, ViolationKind, rehearse_seed};

fn app(_: &Host) -> App {
    actors::services().into_iter().collect()
}

fn names(load: Load) -> Load {
    let requests = matching("[a-z]{4,8}").prop_map(|name| ProcessNameRequest { name });
    load.rpc::<ProcessName>(Via::Rest, requests, Expect::ok())
}

fn load() -> Load {
    names(Load::new(3, 100.ms(), 300.ms()..=500.ms()))
}

fn scenario(load: Load, swarm: Swarm) -> Scenario {
    Scenario::new("wrong", "in one way", load, swarm).nodes(&["service1", "service2"], app)
}

fn right() -> Scenario {
    scenario(load(), Swarm::calm())
}

/// What is told of a scenario; every seed says the same.
fn told(scenario: impl Into<sim::Scenario>) -> String {
    let scenario = scenario.into();
    let told = [1, 2].map(|seed| {
        let violation = rehearse_seed(&scenario, seed, None, Keep::Hash).violation;
        let violation = violation.expect("a mistake is found");
        assert_eq!(violation.kind, ViolationKind::SetUp, "{violation}");
        violation.detail
    });
    assert_eq!(told[0], told[1]);
    told[0].clone()
}

#[test]
fn a_scenario_without_a_mistake_is_played() {
    assert_eq!(rehearse_seed(&right().into(), 1, None, Keep::Hash).violation, None);
}

fn told_of_names(names: impl Strategy<Value = String> + Send + Sync + 'static) -> String {
    let requests = names.prop_map(|name| ProcessNameRequest { name });
    let load = Load::new(3, 100.ms(), 300.ms()..=500.ms());
    told(scenario(load.rpc::<ProcessName>(Via::Rest, requests, Expect::ok()), Swarm::calm()))
}

#[test]
fn a_strategy_that_draws_nothing_is_told_with_its_call() {
    let never = told_of_names("[a-z]".prop_filter("never", |_| false));
    assert!(never.contains("service1/ProcessName") && never.contains("cannot be drawn: "), "{never}");
    assert!(never.ends_with("expected a strategy that lets through some of what it draws"), "{never}");
    let wrong = told_of_names(matching("[a-"));
    assert!(wrong.contains("no text follows \"[a-\""), "{wrong}");
    let panics = told_of_names("[a-");
    assert!(panics.contains("service1/ProcessName") && panics.contains("ClassUnclosed"), "{panics}");
}

#[test]
fn a_flag_that_a_node_refuses_is_told_with_the_node() {
    let told = told(right().flags(&["--deadline", "soon"]));
    assert_eq!(
        told,
        "service1 refuses its flags: invalid value 'soon' for '--deadline <DURATION>': \
         expected a duration above zero and up to a year, like 500ms, 10s or 1m 30s"
    );
}

#[test]
fn a_service_that_clients_call_and_no_host_has_is_told() {
    let requests = matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let load = load().rpc::<SayHello>(Via::Grpc, requests, Expect::ok());
    let told = told(Scenario::new("wrong", "in one way", load, Swarm::calm()).nodes(&["service1"], app));
    assert_eq!(told, "clients call service2, and no host has it: expected one of service1");
}

#[test]
fn strangers_that_can_go_nowhere_or_have_one_name_are_told() {
    let of = |strangers| scenario(load().strangers(1, 100.ms(), strangers), Swarm::calm());
    let lost = Stranger::over_rest("asks").of("service3");
    assert_eq!(told(of(vec![lost])), "the stranger \"rest asks\" goes to service3, and no node has it");
    let [one, same] = [Stranger::over_grpc("asks"), Stranger::over_grpc("asks")];
    assert_eq!(told(of(vec![one, same])), "two strangers are \"grpc asks\": expected a name for each");
}

#[test]
fn a_service_that_nodes_call_and_no_host_has_is_told() {
    let requests = matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    let load = Load::new(3, 100.ms(), 300.ms()..=500.ms()).rpc::<SayHello>(Via::Grpc, requests, Expect::ok());
    let told = told(Scenario::new("wrong", "in one way", load, Swarm::calm()).nodes(&["service2"], app));
    assert_eq!(told, "service2 calls service1, and no host has it: expected .node(..) with service1");
}

#[test]
fn a_service_that_the_app_of_its_node_has_not_is_told() {
    let told = told(right().node("third", &["service3"], app));
    assert_eq!(told, "third is to have service3, which its app has not: expected one of service1, service2");
}

#[test]
fn a_scenario_without_a_node_is_told() {
    let told = told(Scenario::new("wrong", "in one way", load(), Swarm::calm()));
    assert_eq!(told, "it has no node: expected .node(..) or .nodes(..)");
}

#[test]
fn two_hosts_of_one_name_are_told() {
    let told = told(right().node("service1", &["service1"], app));
    assert_eq!(told, "two hosts have the name \"service1\": expected a name for each");
}

#[test]
fn a_swarm_that_names_an_unknown_host_is_told_by_every_seed() {
    let swarm = || Swarm::new(0..=1, 100.ms(), 10.ms()..=20.ms());
    let hosts = "expected one of clients, service1, service2";
    let told_host = told(scenario(load(), swarm().host("service3")));
    assert_eq!(
        told_host,
        format!("faults are to happen on the host \"service3\", which is not there: {hosts}")
    );
    let told_link = told(scenario(load(), swarm().link("clients", "servce1")));
    assert_eq!(
        told_link,
        format!("faults are to happen on the host \"servce1\", which is not there: {hosts}")
    );
}

#[test]
fn a_swarm_that_can_do_nothing_is_told() {
    let wanted = || Swarm::new(0..=1, 100.ms(), 10.ms()..=20.ms());
    let told = |swarm| told(scenario(load(), swarm));
    let nowhere = "faults are wanted, and there is nowhere for them: expected";
    assert_eq!(told(wanted()), format!("{nowhere} .everywhere(), .host(..) or .link(..)"));
    assert_eq!(told(wanted().of_links()), format!("{nowhere} .everywhere() or .link(..)"));
    let kills = wanted().only(&[Family::Kill]).link("service1", "service2");
    assert_eq!(told(kills), format!("{nowhere} .everywhere() or .host(..)"));
    let expected = "expected .only(..) with one at least, or Swarm::calm()";
    let told_none = told(wanted().everywhere().only(&[]));
    assert_eq!(told_none, format!("faults are wanted, and of no family: {expected}"));
}

#[test]
fn a_range_that_nothing_is_in_is_told() {
    let backwards = || 500.ms()..=300.ms();
    let told_load = told(scenario(names(Load::new(3, 100.ms(), backwards())), Swarm::calm()));
    assert_eq!(told_load, "deadlines are to be from 500ms to 300ms: expected the shorter one first");
    let told_swarm = told(scenario(load(), Swarm::new(1..=1, 100.ms(), backwards()).everywhere()));
    assert_eq!(told_swarm, "faults are to last from 500ms to 300ms: expected the shorter one first");
    #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    let told_count = told(scenario(load(), Swarm::new(3..=1, 100.ms(), 1.ms()..=2.ms()).everywhere()));
    assert_eq!(told_count, "there are to be from 3 to 1 faults: expected the smaller number first");
}

#[test]
fn a_tick_that_is_no_whole_number_of_milliseconds_is_told() {
    let told = told(right().tick(Duration::from_micros(1500)));
    assert_eq!(told, "the tick is 1ms 500us: expected whole milliseconds, one at least");
}

#[test]
fn an_option_without_a_choice_is_told() {
    assert_eq!(told(right().option("bank", &[])), "the option \"bank\" has no choice: expected one at least");
}

#[test]
fn an_option_that_is_added_twice_is_told() {
    let told = told(right().option("bank", &["1ms"]).option("bank", &["2ms"]));
    assert_eq!(told, "the option \"bank\" is added twice: expected all its choices at once");
}

#[test]
fn a_load_without_calls_is_told() {
    let nothing = || Load::new(3, 100.ms(), 300.ms()..=500.ms());
    let expected = "clients call nothing: expected .rpc::<..>(..) or .watch::<..>(..)";
    assert_eq!(told(scenario(nothing(), Swarm::calm())), expected);
    let none = names(Load::new(0, 100.ms(), 300.ms()..=500.ms()));
    let expected = "clients call nothing: expected Load::new(..) with one call at least";
    assert_eq!(told(scenario(none, Swarm::calm())), expected);
    let health = scenario(nothing().health_checks(2, 100.ms()), Swarm::calm());
    assert_eq!(rehearse_seed(&health.into(), 1, None, Keep::Hash).violation, None);
}

#[test]
fn a_flag_that_follows_from_the_scenario_is_told() {
    let told_http = told(right().flags(&["--http", "none"]));
    let expected =
        "the rehearsal itself sets the flag --http of its nodes: expected none, for clients are to find it";
    assert_eq!(told_http, expected);
    let told_workers = told(right().flags(&["--workers=3"]));
    assert_eq!(
        told_workers,
        "the rehearsal itself sets the flag --workers of its nodes: expected .workers(..)"
    );
}

#[test]
fn an_option_that_an_app_asks_for_and_that_is_not_there_is_told() {
    let asks = |host: &Host| {
        let _bank: Duration = host.option("bank");
        app(host)
    };
    let none = told(right().node("third", &["service1"], asks));
    let expected =
        "the app of third cannot be made: the scenario has no option \"bank\": add it by .option(..)";
    assert!(none.starts_with(expected), "{none}");
    let wrong = told(right().option("bank", &["soon"]).node("third", &["service1"], asks));
    let expected = "the app of third cannot be made: the option \"bank\" cannot be \"soon\"";
    assert!(wrong.starts_with(expected) && wrong.contains("rehearse/tests/set_up.rs:"), "{wrong}");
}

#[test]
fn a_promise_about_the_state_of_no_fold_is_told() {
    let told = told(right().eventually("all is well", |well: &bool| *well));
    assert_eq!(
        told,
        "\"all is well\" is about the state of a fold, a bool: expected .fold(..) with such a state before"
    );
}

#[test]
fn a_promise_that_is_left_out_and_is_not_there_is_told() {
    let told = told(right().promises(promises::of_calls().except("drains end")));
    assert!(
        told.starts_with("the promise \"drains end\" is to be left out, and is not there: expected one of "),
        "{told}"
    );
}

#[test]
fn a_call_over_rest_that_has_no_route_is_told() {
    let requests = (0..3_i64).prop_map(|amount| AddRequest { key: String::new(), amount });
    let told = told(scenario(load().rpc::<AddLater>(Via::Rest, requests, Expect::ok()), Swarm::calm()));
    assert!(told.ends_with("has no REST route: expected Via::Grpc"), "{told}");
}

#[test]
fn a_mistake_in_one_of_many_worlds_is_told_where_it_is_drawn() {
    let worlds = drawn("worlds", "some of which are wrong", |picks| {
        right().flags(&["--deadline", picks.pick("--deadline", &["500ms", "soon"])])
    });
    let played = (0..20).filter_map(|seed| rehearse_seed(&worlds, seed, None, Keep::Hash).violation);
    let kinds: Vec<_> = played.map(|violation| violation.kind).collect();
    assert!(!kinds.is_empty() && kinds.len() < 20 && kinds.iter().all(|kind| *kind == ViolationKind::SetUp));
}

#[test]
fn a_world_that_cannot_be_made_is_told_with_the_place() {
    let worlds = drawn("worlds", "none at all", |picks| right().workers(picks.pick("workers", &[])));
    let told = rehearse_seed(&worlds, 7, None, Keep::Hash).violation.expect("a mistake is found").detail;
    let expected = "no world can be made: there is nothing to pick \"workers\" from: \
        expected one choice at least at rehearse/tests/set_up.rs:";
    assert!(told.starts_with(expected) && told.ends_with("(in the world that seed 7 picks)"), "{told}");
}
