//! Worlds that are drawn whole: which nodes there are, how they are configured, what they are asked, what breaks.

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use node::App;
use probe_contract::{Entry, Manner, Script, back, front, ledger, middle, tally};
use rehearse::proptest::prelude::*;
use rehearse::proptest::strategy::SBoxedStrategy;
use rehearse::{Code, Expect, Host, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn, matching, promises};

use crate::state::{Afterwards, Totals};
use crate::{checks, scenarios, scripts, state, terms, trial};

type Scripts = SBoxedStrategy<Script>;

/// What a healthy call may take here: up to three hops, each with a handler that may take its time.
const ENOUGH: Duration = Duration::from_millis(400);

/// Time for backoff to end that grew over several outages.
const RECOVERS_WITHIN: Duration = Duration::from_secs(20);

/// A host and the services on it.
type Node = (&'static str, &'static [&'static str]);

/// Where services are, from the plainest.
const LAYOUTS: &[(&str, &[Node])] = &[
    (
        "two",
        &[("edge", &["service2", "front", "ledger", "tally"]), ("inner", &["service1", "middle", "back"])],
    ),
    (
        "pair",
        &[("edge", &["service1", "service2", "front", "middle"]), ("inner", &["back", "ledger", "tally"])],
    ),
    ("one", &[("alone", &["service1", "service2", "front", "middle", "back", "ledger", "tally"])]),
    (
        "three",
        &[
            ("edge", &["service2", "front"]),
            ("inner", &["service1", "middle"]),
            ("last", &["back", "ledger", "tally"]),
        ],
    ),
    (
        "spare",
        &[
            ("edge", &["service2", "front"]),
            ("inner", &["service1", "middle", "back", "ledger", "tally"]),
            ("spare", &["service1", "middle", "back", "ledger", "tally"]),
        ],
    ),
    (
        "five",
        &[
            ("edge1", &["service2", "front"]),
            ("edge2", &["service2", "front"]),
            ("inner", &["service1", "middle"]),
            ("last1", &["back", "ledger", "tally"]),
            ("last2", &["back", "ledger", "tally"]),
        ],
    ),
];

/// What is called, from the plainest.
const LOADS: &[&str] = &["greetings", "scripts", "streams", "sizes", "failures", "ledger", "all"];

/// The scenario of all worlds, and those of one sort of load each: what is rare among all is often among its own.
pub(crate) fn all() -> Vec<sim::Scenario> {
    let of = |name: &'static str, about: &str, loads: &'static [&'static str], policies: Policies| {
        drawn(name, about, move |picks| {
            let layout = any_layout(picks);
            world(picks, layout, loads, true, policies)
        })
    };
    vec![
        of("worlds", "nodes, configuration, load and faults are all drawn", LOADS, no_breaker),
        of("streams", "worlds of streams of all kinds", &["streams"], no_breaker),
        of("sizes", "worlds of large messages", &["sizes"], no_breaker),
        of("failures", "worlds of services that fail as they are told", &["failures"], other_retry_codes),
        of("ledger", "worlds of actors that live by key", &["ledger", "tally"], no_breaker),
        drawn("policies", "worlds whose callers hold calls back, or send them by a key", |picks| {
            // A service that fails as it is told to, call after call, is rightly left alone for good.
            let loads = LOADS.iter().copied().filter(|load| *load != "failures").collect::<Vec<_>>();
            let layout = any_layout(picks);
            world(picks, layout, &loads, false, held_back)
        }),
        drawn("indoors", "worlds of one node, whose services call each other in memory", |picks| {
            world(picks, "one", &["streams", "failures"], true, no_breaker)
        }),
    ]
}

/// Draws what a policy says beside what all of these worlds draw.
type Policies = fn(&mut Picks<'_>) -> String;

fn no_breaker(_: &mut Picks<'_>) -> String {
    "breaker=none".to_owned()
}

fn other_retry_codes(picks: &mut Picks<'_>) -> String {
    picks.pick("retry-codes", &["retry-codes=UNAVAILABLE", "retry-codes=ABORTED"]).to_owned()
}

/// What holds calls back, and sends them by a key, from the plainest. Other worlds have none of it: a call that is held back
/// shows nothing of what they are about.
fn held_back(picks: &mut Picks<'_>) -> String {
    let breaker = picks.pick("breaker", &["none", "3", "50%"]);
    let limit = picks.pick("max-in-flight", &["none", "4", "adaptive"]);
    let key = picks.pick("key", &["none", "name"]);
    format!("breaker={breaker};max-in-flight={limit};service1.ProcessName.key={key}")
}

fn any_layout(picks: &mut Picks<'_>) -> &'static str {
    let layouts: Vec<_> = LAYOUTS.iter().map(|(name, _)| *name).collect();
    picks.pick("nodes", &layouts)
}

/// A world of these nodes with one of these loads, whose streams may fail as they are told or not.
fn world(
    picks: &mut Picks<'_>,
    layout: &str,
    loads: &[&str],
    may_fail: bool,
    policies: Policies,
) -> Scenario {
    let (_, nodes) =
        LAYOUTS.iter().find(|(name, _)| *name == layout).expect("a layout is picked by its name");
    let over = Duration::from_millis(picks.pick("load over ms", &[300, 3000, 9000]));
    let swarm = swarm(picks, over);
    let size = picks.pick("--max-message-size", &[4_194_304, 32_768]);
    let idle = Duration::from_millis(picks.pick("ledger idle ms", &[1000, 20]));
    let scenario = Scenario::new("", "", load(picks, loads, may_fail, over, size), swarm)
        .stand_in(STAND_IN, &["--ledger-idle", &format!("{}ms", idle.as_millis())]);
    let scenario =
        nodes.iter().fold(scenario, |scenario, (host, services)| scenario.node(host, services, app(idle)));
    let drain_ms = picks.pick("--drain-timeout in ms", &[5000, 600, 2000]);
    let drain_timeout = Duration::from_millis(drain_ms);
    let calls_max = picks.pick("--max-calls", &[1024, 12, 4]);
    let policy = picks.pick("--policy", &["attempts=3", "attempts=1", "hedge=true"]);
    let health_check = format!("health-check={}", picks.pick("health-check", &[false, true]));
    let policies = policies(picks);
    let scenario = configured(picks, scenario)
        .flags(&["--policy", policy, "--policy", &health_check, "--policy", &policies])
        .flags(&["--max-calls", &calls_max.to_string()])
        .flags(&["--drain-timeout", &format!("{drain_ms}ms")])
        .flags(&["--max-message-size", &size.to_string()]);
    scenario
        .recovers_within(RECOVERS_WITHIN)
        .gauges_every(70.ms())
        .promises(promises::of_calls().enough(ENOUGH))
        .invariant(checks::LinesNameTheirCallers::default)
        .invariant(crate::ledger::LinesHaveTheirKeys::default)
        .invariant(crate::bytes::BytesOfAnswers::default)
        .every_call("every reply belongs to its request", move |call| scripts::as_the_script_says(call, size))
        .every_call("what is watched is whole when it ends", scripts::whole_to_its_end)
        .fold("a key's total is in one place", move |totals: &mut Totals, event| {
            state::one_total_for_each_key(totals, event, idle, 200.ms())
        })
        .fold("gauges tell of no more actors than there may be", |_: &mut (), event| {
            crate::ledger::few_have_actors(event)
        })
        .fold("what calls leave behind is not cut off", move |work: &mut Afterwards, event| {
            // Of two services, on each of two workers.
            state::done_afterwards(work, event, drain_timeout, calls_max * 4)
        })
        .fold("a stream of requests that breaks off does not end well", state::requests_end_whole)
        .fold("nobody else repeats what calls leave behind", state::calls_for_itself)
        .fold("what is shown ends when its host drains", state::shows_end_with_drains)
        .eventually("what calls leave behind is done", state::nothing_is_left)
}

/// The name under which this program is a node with the services of these worlds.
pub(crate) const STAND_IN: &str = "node-of-worlds";

/// Its flags where nobody waits for an actor of the ledger to go.
pub(crate) const IDLE_FOR_A_SECOND: &[&str] = &["--ledger-idle", "1s"];

/// The flags of that node, besides every node's.
#[derive(Debug, clap::Args)]
struct Flags {
    /// How long an actor of the ledger stays that nobody asks
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ledger_idle: Duration,
}

/// A node with the services of these worlds, as a process.
pub(crate) fn node() -> ExitCode {
    node::main(STAND_IN, |flags: Flags| {
        trial::add_to(actors::services().into_iter().collect(), flags.ledger_idle)
    })
}

/// The services of these worlds.
pub(crate) fn app(ledger_idle: Duration) -> impl Fn(&Host) -> App + Send + Sync + 'static {
    move |_| trial::add_to(actors::services().into_iter().collect(), ledger_idle)
}

/// These nodes with services of these worlds, in dress rehearsals, too. An actor of the ledger stays for a second that nobody asks.
pub(crate) fn hosted(scenario: Scenario, nodes: &[(&str, &[&str])]) -> Scenario {
    let scenario = scenario.stand_in(STAND_IN, IDLE_FOR_A_SECOND);
    nodes.iter().fold(scenario, |scenario, (host, services)| scenario.node(host, services, app(1000.ms())))
}

/// Flags that change what a rehearsal shows, each from the plainest.
fn configured(picks: &mut Picks<'_>, scenario: Scenario) -> Scenario {
    let choices: &[(&str, &[&str])] = &[
        ("--deadline", &["500ms", "3s"]),
        ("--keepalive", &["200ms", "100ms", "1s"]),
        ("--max-streams", &["1024", "4"]),
    ];
    let workers = picks.pick("workers", &[2, 1]);
    let scenario = scenario.workers(workers).flags(&["--rest-headers", "x-trial"]);
    choices.iter().fold(scenario, |scenario, (flag, values)| {
        let value = picks.pick(flag, values);
        // A callee is as quick to greet as to answer a PING.
        let greeting: &[&str] = match (*flag, value) {
            ("--keepalive", "100ms") => &["--greeting-timeout", "50ms"],
            ("--keepalive", "1s") => &["--greeting-timeout", "500ms"],
            _ => &[],
        };
        scenario.flags(&[flag, value]).flags(greeting)
    })
}

/// Faults over the whole time of the load, short ones or outages of seconds, so that a second one may begin while the
/// first lasts, or when all works again.
fn swarm(picks: &mut Picks<'_>, over: Duration) -> Swarm {
    let lasts: RangeInclusive<Duration> = match picks.pick("faults last", &["short", "long"]) {
        "long" => 300.ms()..=3000.ms(),
        _ => 20.ms()..=400.ms(),
    };
    match picks.pick("faults", &["some", "none", "many"]) {
        "none" => Swarm::calm(),
        "many" => Swarm::new(3..=6, over, lasts).everywhere(),
        _ => Swarm::new(1..=2, over, lasts).everywhere(),
    }
}

fn load(picks: &mut Picks<'_>, loads: &[&str], may_fail: bool, over: Duration, size: u32) -> Load {
    let calls = picks.pick("calls", &[30, 6, 70]);
    let deadlines = match picks.pick("deadlines", &["long", "any"]) {
        "any" => 30.ms()..=2000.ms(),
        _ => 450.ms()..=2500.ms(),
    };
    let load = Load::new(calls, over, deadlines).bursts(picks.pick("bursts", &[1, 4]));
    let load = if picks.pick("ids", &["plain", "any"]) == "any" { load.any_ids() } else { load };
    let says_timeouts = picks.pick("timeouts", &["said", "not said"]) == "said";
    let load = if says_timeouts { load } else { load.without_timeouts() };
    let load = if picks.pick("health checks", &[false, true]) { load.health_checks(12, over) } else { load };
    let load = if picks.pick("metadata", &[false, true]) { load.metadata(metadata()) } else { load };
    match picks.pick("load", loads) {
        "scripts" => plays(load, asks(), size),
        "streams" => streams(load, size, may_fail),
        "sizes" => plays(load, sized(asks()), size),
        "failures" => plays(load, failing(asks()), size),
        "ledger" => entries(load),
        "all" => {
            let scripts = if may_fail { failing(sized(asks())) } else { sized(asks()) };
            entries(plays(streams(scenarios::greetings(load), size, may_fail), scripts, size))
        }
        _ => scenarios::greetings(load),
    }
}

/// Scripts over one to three hops, at each of the services.
fn plays(load: Load, scripts: Scripts, size: u32) -> Load {
    let pad = |script: &mut Script, _| terms::padded(script);
    let (expect, at_back) = (expect(size, false), expect(size, true));
    load.rpc_with_id::<front::Play>(Via::Rest, scripts.clone(), expect.clone(), pad)
        .rpc_with_id::<front::Play>(Via::Grpc, scripts.clone(), expect.clone(), pad)
        .rpc_with_id::<middle::Play>(Via::Grpc, scripts.clone(), expect.clone(), pad)
        .rpc_with_id::<back::Play>(Via::Rest, scripts.clone(), at_back.clone(), pad)
        .rpc_with_id::<back::Glance>(Via::Rest, scripts, at_back, pad)
}

/// Streams to clients, and of all kinds between services.
fn streams(load: Load, size: u32, may_fail: bool) -> Load {
    let manners = prop::sample::select(vec![Manner::Show, Manner::Gather, Manner::Mirror]);
    // Most come to a good end.
    let scripts = match may_fail {
        true => prop_oneof![3 => asks(), 1 => failing(asks())].sboxed(),
        false => asks(),
    };
    let stumbles = prop::bool::weighted(0.1);
    // More than the smaller of the sizes that messages may have.
    let swells_to = prop_oneof![9 => Just(0), 1 => Just(40_000_u32)];
    let scripts = (scripts, manners, stumbles, swells_to);
    let scripts = scripts.prop_map(|(script, manner, stumbles, swells_to)| {
        let hops = script.hops.max(1);
        // Of what fails at both ends either may come first.
        let is_sound = script.code == 0 && manner != Manner::Show;
        let stumbles = stumbles && is_sound;
        let swells = is_sound && !stumbles && script.within_ms == 0;
        let swells_to = if swells { swells_to } else { 0 };
        // After these nobody calls again by himself.
        let is_final = matches!(script.code, 3 | 5..=7 | 9 | 11 | 15 | 16);
        let again_ms = if is_final { script.again_ms.max(300) } else { 0 };
        Script { manner: manner.into(), hops, again_ms, stumbles, swells_to, ..script }
    });
    plays(load, scripts.sboxed(), size)
        .watch::<front::Show>(slow(), Expect::ok())
        .watch::<back::Show>(slow(), Expect::ok())
}

fn entries(load: Load) -> Load {
    let entries = || {
        (crate::ledger::keys("[ab]"), 1..9_i64).prop_map(|(key, amount)| Entry {
            key,
            amount,
            ..Entry::default()
        })
    };
    let looks = crate::ledger::keys("[ab]").prop_map(|key| Entry { key, ..Entry::default() });
    load.rpc::<ledger::Enter>(Via::Rest, entries(), Expect::ok())
        .rpc::<ledger::Enter>(Via::Grpc, entries(), Expect::ok())
        .rpc::<ledger::Look>(Via::Grpc, looks, Expect::ok())
        .rpc::<tally::Enter>(Via::Rest, entries(), Expect::ok())
        .rpc::<tally::Enter>(Via::Grpc, entries(), Expect::ok())
}

/// What is right for a script: what it asks for itself, and that what is too large is refused.
fn expect(size: u32, is_at_back: bool) -> Expect {
    Expect::ok().or_as_asked::<Script>(move |script| {
        match script.hops > 0 && !is_at_back {
            // There may be as much work afterwards as there may be.
            true if script.afterwards => Some(Code::ResourceExhausted),
            true if script.within_ms > 0 => Some(Code::DeadlineExceeded),
            _ => scripts::asked(script, is_at_back, size),
        }
    })
}

fn asks() -> Scripts {
    let times = (prop_oneof![3 => 0..=5_u32, 1 => 20..=60_u32], 0..=3_u32, 0..=15_u32);
    let afterwards = prop_oneof![7 => Just(false), 1 => Just(true)];
    let within_ms = prop_oneof![7 => Just(0), 1 => 10..=80_u32];
    let script = (matching("[a-z]{4,8}"), 0..=2_u32, afterwards, within_ms, times);
    let script = script.prop_map(|(text, hops, afterwards, within_ms, (wait_ms, scenes, pause_ms))| Script {
        text,
        hops,
        afterwards,
        within_ms,
        // What comes afterwards has time enough to meet a drain.
        wait_ms: if afterwards && hops > 0 { wait_ms + 250 } else { wait_ms },
        scenes,
        pause_ms,
        ..Script::default()
    });
    script.sboxed()
}

/// Streams that may last for longer than the deadline of a unary call.
fn slow() -> Scripts {
    let slow = (asks(), prop_oneof![2 => 0..=15_u32, 1 => 150..=400_u32]);
    slow.prop_map(|(script, pause_ms)| Script { pause_ms, ..script }).sboxed()
}

/// With messages of all sizes, both ways.
fn sized(scripts: Scripts) -> Scripts {
    let size = || prop::sample::select(vec![0, 1000, 20_000, 31_000, 40_000, 150_000]);
    let sized = (scripts, size(), size()).prop_map(|(script, request_bytes, answer_bytes)| Script {
        request_bytes,
        answer_bytes,
        within_ms: 0,
        ..script
    });
    sized.sboxed()
}

/// That fail, most of them.
fn failing(scripts: Scripts) -> Scripts {
    let long = "long ".repeat(100);
    // What is cut off of this one ends within a letter.
    let too_long = format!("x{}", "\u{fc}".repeat(2100));
    let odd = "100 % of \u{fc}ber-long \"words\"\r\n\tand more";
    let messages = ["plain", "", odd, "\u{1f3ad}", &long, &too_long];
    let message = prop::sample::select(messages.map(str::to_owned).to_vec());
    let code = prop_oneof![4 => 1..=16_u32, 1 => Just(0)];
    let again_ms = prop::sample::select(vec![0, 0, 300, 2500]);
    let failing = (scripts, code, message, again_ms).prop_map(|(script, code, message, again_ms)| Script {
        code,
        // A message that is nearly too large has no room for it.
        message: if script.request_bytes > 30_000 { String::new() } else { message },
        within_ms: 0,
        // Clients do not call again; services would.
        again_ms: if script.hops == 0 { again_ms } else { 0 },
        // Whether work that comes afterwards fails is nobody's answer, and it takes longer than an answer.
        afterwards: false,
        wait_ms: script.wait_ms % 250,
        ..script
    });
    (failing, prop::bool::weighted(0.1))
        .prop_map(|(script, panics)| if panics { terms::panicking(script) } else { script })
        .sboxed()
}

/// A value of metadata.
const TEXT: &str = "[!-~]([ -~]{0,30}[!-~])?";

/// Metadata that services send back, one name with two values among them, and such as they do not.
fn metadata() -> impl Strategy<Value = Vec<(String, String)>> {
    let entry =
        |name: &'static str, value: &str| matching(value).prop_map(move |value| (name.to_owned(), value));
    let entries =
        (entry("x-trial", TEXT), entry("x-trial-bin", "([A-Za-z0-9+/]{4}){0,8}"), entry("x-trial", TEXT));
    let other = entry("x-other", "[!-~]{1,9}");
    (entries, other, any::<[bool; 4]>()).prop_map(
        |((text, bytes, again), other, [has_text, has_bytes, has_other, has_two])| {
            let entries =
                [(has_text, text), (has_text && has_two, again), (has_bytes, bytes), (has_other, other)];
            entries.into_iter().filter_map(|(is_there, entry)| is_there.then_some(entry)).collect()
        },
    )
}
