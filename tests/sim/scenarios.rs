//! What is rehearsed.

use node::App;
use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::service2::SayHello;
use protos::app::grpc::{ProcessNameRequest, SayHelloRequest};
use rehearse::proptest::strategy::Strategy;
use rehearse::{CLIENTS, Expect, Family, Host, Load, Ms as _, Scenario, Swarm, Via, matching, promises};

use crate::checks;

/// How many calls a service takes on at once: few, so that some are refused.
pub(crate) const ADMITTED: usize = 12;

/// The names in calls: long enough that hardly two calls of a plan share one, so that whose it is can be told.
const NAME: &str = "[a-z]{4,8}";

/// What a path, a query or JSON must escape, and what a form would take for something else.
const TO_ESCAPE: [char; 12] = ['+', '%', ' ', '"', 'ü', '/', '&', '=', '?', '#', '\\', '日'];

pub(crate) fn app(_: &Host) -> App {
    actors::services().into_iter().collect()
}

/// Names, one of four of which has letters that must be escaped on the way.
fn names() -> impl Strategy<Value = String> {
    matching(NAME).prop_map(|name| match name.as_bytes() {
        [(b't'..), second, ..] => {
            let odd = TO_ESCAPE[usize::from(*second) % TO_ESCAPE.len()];
            format!("{}{odd}{}", &name[..2], &name[2..])
        }
        _ => name,
    })
}

/// Greetings, whose way is over both services.
pub(crate) fn hello(load: Load, via: Via) -> Load {
    let requests = names().prop_map(|name| SayHelloRequest { name });
    load.rpc::<SayHello>(via, requests, Expect::ok())
}

/// Greetings over REST and over gRPC.
pub(crate) fn greetings(load: Load) -> Load {
    hello(hello(load, Via::Rest), Via::Grpc)
}

/// Forty calls in less than half a second: short rehearsals find most, and calls that overlap find more.
pub(crate) fn load() -> Load {
    let load = greetings(Load::new(40, 300.ms(), 200.ms()..=800.ms()));
    let names = names().prop_map(|name| ProcessNameRequest { name });
    load.rpc::<ProcessName>(Via::Grpc, names, Expect::ok())
}

/// How much a call matters.
pub(crate) fn criticality() -> impl Strategy<Value = Vec<(String, String)>> {
    let said = |criticality: String| vec![("x-criticality".to_owned(), criticality)];
    matching("sheddable|critical|default").prop_map(said)
}

/// Calls of `service2` only: what a client makes of its own connections is not what is rehearsed here.
fn load_of_two() -> Load {
    greetings(Load::new(40, 400.ms(), 300.ms()..=800.ms()))
}

/// Two nodes, one service each.
pub(crate) fn two_nodes(name: &str, about: &str, load: Load, swarm: Swarm, admitted: usize) -> Scenario {
    let scenario = Scenario::new(name, about, load, swarm).nodes(&["service1", "service2"], app);
    greets(scenario, admitted)
}

/// Nodes with one worker that take on `admitted` calls at once, and all that must hold.
pub(crate) fn greets(scenario: Scenario, admitted: usize) -> Scenario {
    scenario
        .flags(&["--max-calls", &admitted.to_string()])
        .workers(1)
        .promises(promises::of_calls())
        .invariant(checks::LinesNameTheirCallers::default)
        .every_call("every reply belongs to its request", checks::right_value)
}

fn nodes(name: &str, about: &str, swarm: Swarm) -> Scenario {
    two_nodes(name, about, load(), swarm, ADMITTED)
}

/// The same, called by clients that send request ids of every form.
fn nodes_of_any_ids(name: &str, about: &str, swarm: Swarm) -> Scenario {
    two_nodes(name, about, load().any_ids(), swarm, ADMITTED)
}

fn any_faults() -> Swarm {
    Swarm::new(1..=4, 250.ms(), 20.ms()..=350.ms())
        .link("service2", "service1")
        .link(CLIENTS, "service2")
        .host("service1")
        .host("service2")
}

/// Long, since a node reads the clock twice a second: for the `date` of its REST answers.
fn clocks() -> Swarm {
    Swarm::new(1..=4, 200.ms(), 400.ms()..=900.ms()).host("service1").host("service2").only(&[
        Family::ClockSkew,
        Family::ClockDrift,
        Family::ClockJump,
    ])
}

/// Calls with pauses between them, for longer than a connection that could not be made is left alone.
fn sparse_load() -> Load {
    greetings(Load::new(40, 9000.ms(), 300.ms()..=1000.ms()))
}

/// One host after the other is out of reach for seconds: long enough for dead connections to be found, for waits
/// between attempts to grow, and for what a success resets to be seen when the next one comes.
fn outages() -> Swarm {
    Swarm::new(2..=5, 8000.ms(), 200.ms()..=4000.ms())
        .link("service2", "service1")
        .link("service2", "spare1")
        .host("service1")
        .host("service2")
        .only(&[
            Family::Partition,
            Family::PartitionOneWay,
            Family::Hold,
            Family::SlowLink,
            Family::Reset,
            Family::PowerLoss,
            Family::Kill,
            Family::Drain,
        ])
}

/// As [`outages`], where there is no spare host.
fn outages_of_one() -> Swarm {
    Swarm::new(1..=4, 8000.ms(), 200.ms()..=3000.ms()).link("service2", "service1").host("service1").only(&[
        Family::Partition,
        Family::PartitionOneWay,
        Family::Hold,
        Family::SlowLink,
        Family::PowerLoss,
        Family::Kill,
        Family::Drain,
    ])
}

/// All scenarios.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = short();
    all.extend(long());
    all
}

/// Those that are over in a second or two.
fn short() -> Vec<Scenario> {
    let between = || Swarm::new(1..=2, 250.ms(), 100.ms()..=700.ms()).link("service2", "service1");
    let drains = || Swarm::new(1..=2, 250.ms(), 400.ms()..=800.ms()).host("service1").only(&[Family::Drain]);
    let at_service1 = || Swarm::new(1..=2, 250.ms(), 50.ms()..=700.ms()).host("service1");
    vec![
        nodes_of_any_ids("calm", "nothing goes wrong", Swarm::calm())
            .every_call("in calm, every call works", checks::works),
        nodes_of_any_ids(
            "partition",
            "service2 and service1 cannot reach each other",
            // Long enough for a dead connection to be found, and for a new one to be waited for in vain.
            Swarm::new(1..=2, 250.ms(), 300.ms()..=2000.ms()).link("service2", "service1").only(&[
                Family::Partition,
                Family::PartitionOneWay,
                Family::Hold,
            ]),
        ),
        nodes(
            "crash",
            "service1 dies, and comes back with no memory",
            at_service1().only(&[Family::PowerLoss, Family::Kill, Family::SlowHandler]),
        ),
        nodes(
            "slow",
            "a slow link, a slow or busy service1, against the deadline",
            between().host("service1").only(&[
                Family::SlowLink,
                Family::SlowHandler,
                Family::FullService,
                Family::Pause,
            ]),
        ),
        two_nodes(
            "drain",
            "service1 drains and restarts under load",
            load().any_ids().health_checks(10, 700.ms()),
            drains(),
            ADMITTED,
        ),
        two_nodes(
            "drain-one-of-two",
            "one of two hosts of service1 drains: no call is lost",
            load_of_two(),
            drains(),
            ADMITTED,
        )
        .node("spare1", &["service1"], app)
        .every_call("with another host there, a drain loses no call", checks::works),
        nodes("clocks", "wall clocks are skewed, drift and jump", clocks())
            .every_call("a wrong clock changes nothing", checks::works),
        nodes(
            "panics",
            "handlers panic",
            any_faults().only(&[Family::PanickingHandler, Family::SlowHandler]),
        )
        .workers(2),
        nodes("storm", "everything at once", any_faults()),
    ]
}

/// Those that last for seconds.
fn long() -> Vec<Scenario> {
    vec![
        two_nodes(
            "outages",
            "hosts are out of reach for seconds, again and again",
            sparse_load().metadata(criticality()),
            outages(),
            ADMITTED,
        )
        .node("spare1", &["service1"], app)
        .flags(&["--rest-headers", "x-criticality"])
        .workers(1),
        two_nodes(
            "outages-of-one",
            "the only host of a service is out of reach, again and again",
            sparse_load(),
            outages_of_one(),
            ADMITTED,
        ),
    ]
}
