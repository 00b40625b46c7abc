//! The shop, rehearsed: `cargo test` plays a few seeds, `cargo test --test rehearse -- rehearse --help` tells how to play more.

use std::collections::BTreeMap;
use std::sync::Arc;

use rehearse::facts::StreamMessage;
use rehearse::proptest::prelude::*;
use rehearse::{Code, Event, Expect, Load, Ms, Runner, Scenario, Swarm, Via, promises};
use shop::api::inventory::{Stock, WatchStock};
use shop::api::orders::Place;
use shop::api::{PlaceRequest, StockRequest, StockResponse};
use shop::{Bank, Disks};

fn load() -> Load {
    let sku = || "apple|pear|plum";
    let place = (sku(), 1..4_i64, prop_oneof![Just(500), Just(200_000)])
        .prop_map(|(sku, quantity, cents)| PlaceRequest { sku, quantity, cents, ..Default::default() });
    let refused = Expect::ok().or(Code::FailedPrecondition); // sold out, or declined: right answers both
    Load::new(30, 400.ms(), 300.ms()..=900.ms())
        .rpc_with_id::<Place>(Via::Rest, place, refused, |request, id| request.order = id)
        .rpc::<Stock>(Via::Rest, sku().prop_map(|sku| StockRequest { sku }), Expect::ok())
        .watch::<WatchStock>(sku().prop_map(|sku| StockRequest { sku }))
}

#[derive(Default)]
struct Order {
    reserved: u32,
    charged: u32,
    released: u32,
}

/// Nothing is sold that is not there, nothing twice, and nobody pays for what was given back.
fn ledger(orders: &mut BTreeMap<String, Order>, event: &Event) -> Result<(), String> {
    let (Some(line), Some(id)) = (event.line(), event.text("order")) else { return Ok(()) };
    let order = orders.entry(id.to_owned()).or_default();
    match line.message.as_str() {
        "reserved" if event.number("left") < Some(0) => return Err(format!("{id} is reserved of nothing")),
        "reserved" => order.reserved += 1,
        "charged" => order.charged += 1,
        "released" => order.released += 1,
        _ => {}
    }
    match (order.reserved, order.charged, order.released) {
        (0 | 1, 0, 0) | (1, 1, 0) | (1, 0, 1) => Ok(()),
        (reserved, charged, released) => {
            Err(format!("{id} is reserved {reserved}, charged {charged}, released {released} times"))
        }
    }
}

fn watched((): &mut (), event: &Event) -> Result<(), String> {
    let Some(stock) = event.told::<StreamMessage>() else { return Ok(()) };
    let StockResponse { left } = stock.message().ok_or("no stock in a message of the stream")?;
    if (0..=10).contains(&left) { Ok(()) } else { Err(format!("{left} are said to be left of ten")) }
}

fn shop(name: &str, about: &str, swarm: Swarm) -> Scenario {
    Scenario::new(name, about, load(), swarm)
        .option("bank", &["5ms", "150ms"])
        .nodes(&["inventory", "payments", "orders"], |host| {
            let disks = host.clone();
            shop::app(Disks::new(move |name| Ok(Arc::new(disks.disk(name)))), Bank::new(host.option("bank")))
        })
        .promises(promises::of_calls())
        .fold("the ledger is right", ledger)
        .fold("watchers see what is there", watched)
        .eventually("every order is settled", |orders: &BTreeMap<String, Order>| {
            orders.values().all(|order| order.reserved == order.charged + order.released)
        })
}

fn main() -> std::process::ExitCode {
    let faults = || Swarm::new(1..=3, 350.ms(), 50.ms()..=600.ms()).everywhere();
    Runner::new(env!("CARGO_MANIFEST_DIR"))
        .scenario(shop("calm", "nothing goes wrong", Swarm::calm()))
        .scenario(shop("links", "the network breaks", faults().of_links()))
        .scenario(shop("storm", "everything at once", faults()))
        .main()
}
