//! Rehearsals of calls that say how much they matter, which all calls inherit that are made for them.

use std::collections::BTreeMap;

use probe_contract::{Manner, Script, front, middle};
use rehearse::proptest::prelude::*;
use rehearse::{
    CallRecord, Event, Expect, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Via, Wants, drawn, matching,
    promises,
};

use crate::{scenarios, scripts, worlds};

/// How large a message may be.
const SIZE_MAX: u32 = 65_536;

/// The scenario of calls that say how much they matter.
pub(crate) fn mattering() -> sim::Scenario {
    drawn("mattering", "calls say how much they matter, and so do those that are made for them", world)
}

fn world(picks: &mut Picks<'_>) -> Scenario {
    let nodes: &[(&str, &[&str])] = match picks.pick("nodes", &["apart", "together"]) {
        "together" => &[("whole", &["front", "middle", "back"])],
        _ => &[("edge", &["front"]), ("inner", &["middle", "back"])],
    };
    let load = Load::new(40, 600.ms(), 800.ms()..=1500.ms()).metadata(said());
    let load = load
        .rpc::<front::Play>(Via::Rest, plays(), Expect::ok())
        .rpc::<front::Play>(Via::Grpc, plays(), Expect::ok())
        .rpc::<middle::Play>(Via::Grpc, plays(), Expect::ok());
    worlds::hosted(Scenario::new("", "", load, Swarm::calm()), nodes)
        .workers(picks.pick("workers", &[2, 1]))
        .flags(&["--deadline", "2s", "--rest-headers", "x-criticality"])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", |call| scripts::as_the_script_says(call, SIZE_MAX))
        .invariant(MatterAsTheirRequests::default)
}

/// Three of four say how much they matter.
fn said() -> impl Strategy<Value = Vec<(String, String)>> {
    prop_oneof![3 => scenarios::criticality(), 1 => Just(Vec::new())]
}

/// At once or afterwards, from one service to the next, with metadata of their own or without.
fn plays() -> impl Strategy<Value = Script> + Clone {
    let manners = prop::sample::select(vec![Manner::Ask, Manner::Gather, Manner::Mirror]);
    (matching("[a-z]{4,8}"), 0..=2_u32, manners, any::<bool>()).prop_map(
        |(text, hops, manner, afterwards)| Script {
            text,
            hops,
            manner: manner.into(),
            afterwards,
            scenes: 1,
            ..Script::default()
        },
    )
}

/// Whoever plays for a request knows that it matters as much as that says.
#[derive(Debug, Default)]
struct MatterAsTheirRequests {
    /// Who says nothing makes a call as any other.
    said: BTreeMap<u32, String>,
    met: u64,
}

impl Invariant for MatterAsTheirRequests {
    fn name(&self) -> &str {
        "calls matter as much as the request that they are made for"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let said = call.request.metadata.iter().find(|(name, _)| name == "x-criticality");
        self.said.insert(call.request.id, said.map_or("default", |(_, said)| said).to_owned());
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let said = event.request.and_then(|request| self.said.get(&request));
        let Some((said, matters)) = said.zip(event.text("matters")) else { return Ok(()) };
        self.met += 1;
        if said == matters {
            return Ok(());
        }
        Err(format!("its request is {said}, and it is {matters}: {event}"))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
