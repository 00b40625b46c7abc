//! The scenarios of the toy.

use std::time::Duration;

use sim::{
    CallRecord, EndsByDeadline, Family, Load, LogsKnowTheirCaller, ReplyCarriesId, Scenario, Swarm, matching,
};

use crate::toy;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn load() -> Load {
    Load::new(40..=40, ms(1000), ms(50)..=ms(400)).kind("rest", "shout", matching("[a-z]{1,12}"))
}

fn toy(name: &str, about: &str, swarm: Swarm) -> Scenario {
    Scenario::new(name, about, load(), swarm)
        .host("service1", toy::service1)
        .host("service2", toy::service2)
        .client("rest", toy::rest_client)
        .tick(ms(5))
        .latency_max(ms(10))
        .recovers_within(ms(5000))
        .invariant(|| EndsByDeadline::with_grace(ms(6)))
        .invariant(ReplyCarriesId::default)
        .invariant(LogsKnowTheirCaller::default)
        .every_call("every reply belongs to its request", right_value)
}

fn right_value(call: &CallRecord) -> Result<(), String> {
    let Some(reply) = call.reply.as_ref().filter(|reply| reply.is_ok()) else {
        return Ok(());
    };
    let wanted = call.request.argument.to_uppercase();
    if reply.value == wanted {
        Ok(())
    } else {
        Err(format!("{} got {:?}, not {wanted:?}", call.request_id, reply.value))
    }
}

fn swarm() -> Swarm {
    Swarm::new(1..=4, ms(800), ms(20)..=ms(600))
        .link("service2", "service1")
        .link(sim::CLIENTS, "service2")
        .host("service1")
        .host("service2")
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        toy("calm", "nothing goes wrong", Swarm::calm()).every_call("in calm, every call works", |call| {
            match &call.reply {
                Some(reply) if reply.is_ok() => Ok(()),
                reply => Err(format!("{} got {reply:?}", call.request_id)),
            }
        }),
        toy(
            "partition",
            "the services cannot reach each other",
            swarm().only(&[Family::Partition, Family::PartitionOneWay]),
        ),
        toy("storm", "everything at once", swarm()),
    ]
}
