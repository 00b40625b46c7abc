//! Rehearsals of nodes that drain while calls have left work behind, and while streams are shown that last.

use std::time::Duration;

use probe_contract::{Script, back, front};
use rehearse::proptest::prelude::*;
use rehearse::proptest::strategy::SBoxedStrategy;
use rehearse::{Code, Expect, Family, Load, Ms as _, Picks, Scenario, Swarm, Via, drawn, matching, promises};

use crate::state::{self, Afterwards};
use crate::{scripts, worlds};

/// What a healthy call may take here: up to three hops, each with a handler that may take its time.
const ENOUGH: Duration = Duration::from_millis(400);

/// How long the actors of other services are kept that nobody asks; here nobody does.
const IDLE: Duration = Duration::from_secs(1);

/// How large a message may be; none is here.
const SIZE_MAX: u32 = 4_194_304;

/// The scenario of nodes that drain with more to do than calls.
pub(crate) fn parting() -> sim::Scenario {
    drawn(
        "parting",
        "nodes drain while work goes on that calls have left behind, and streams that last",
        world,
    )
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let drain_ms = picks.pick("--drain-timeout in ms", &[5000, 400, 100]);
    let drain_timeout = Duration::from_millis(drain_ms);
    let (calls_max, workers) = (picks.pick("--max-calls", &[1024, 2]), picks.pick("workers", &[2, 1]));
    let drains = Swarm::new(1..=3, 1400.ms(), 600.ms()..=1800.ms()).host("edge").host("inner");
    let scenario = Scenario::new("", "", load(), drains.only(&[Family::Drain]))
        .stand_in(worlds::STAND_IN, worlds::IDLE_FOR_A_SECOND)
        .node("edge", &["front"], worlds::app(IDLE))
        .node("inner", &["middle", "back"], worlds::app(IDLE));
    let scenario = match picks.pick("nodes", &["two", "spare"]) {
        "spare" => scenario.node("spare", &["middle", "back"], worlds::app(IDLE)),
        _ => scenario,
    };
    scenario
        .workers(workers)
        .flags(&["--max-calls", &calls_max.to_string()])
        .flags(&["--drain-timeout", &format!("{drain_ms}ms"), "--deadline", "3s"])
        .promises(promises::of_calls().enough(ENOUGH))
        .every_call("every reply belongs to its request", |call| scripts::as_the_script_says(call, SIZE_MAX))
        .every_call("what is watched is whole when it ends", scripts::whole_to_its_end)
        .fold("what calls leave behind is not cut off", move |work: &mut Afterwards, event| {
            // One service of each host leaves work behind.
            state::done_afterwards(work, event, drain_timeout, calls_max * usize::from(workers))
        })
        .fold("nobody else repeats what calls leave behind", state::calls_for_itself)
        .fold("what is shown ends when its host drains", state::shows_end_with_drains)
}

/// As many calls leave work behind as do not, and streams last for as long as a drain may take.
fn load() -> Load {
    let plays = || {
        let script = (matching("[a-z]{4,8}"), 0..=2_u32, any::<bool>(), 0..=300_u32);
        let script = script.prop_map(|(text, hops, afterwards, wait_ms)| Script {
            text,
            hops,
            afterwards,
            wait_ms,
            ..Script::default()
        });
        script.sboxed()
    };
    let shows = || -> SBoxedStrategy<Script> {
        let script = (matching("[a-z]{4,8}"), 1..=4_u32, prop::sample::select(vec![20_u32, 150, 500]));
        script
            .prop_map(|(text, scenes, pause_ms)| Script { text, scenes, pause_ms, ..Script::default() })
            .sboxed()
    };
    let right = || Expect::ok().or(Code::ResourceExhausted);
    Load::new(40, 1500.ms(), 450.ms()..=2500.ms())
        .rpc::<front::Play>(Via::Rest, plays(), right())
        .rpc::<front::Play>(Via::Grpc, plays(), right())
        .rpc::<back::Play>(Via::Rest, plays(), right())
        .watch::<front::Show>(shows(), Expect::ok())
        .watch::<back::Show>(shows(), Expect::ok())
}
