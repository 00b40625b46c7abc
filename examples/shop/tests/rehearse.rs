//! The shop, rehearsed: `cargo test` plays a few seeds, `cargo test --test rehearse -- rehearse --help` tells of more.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use rehearse::proptest::prelude::*;
use rehearse::{Code, Event, Expect, Family, Load, Ms, Runner, Scenario, Swarm, Via, facts, promises};
use shop::api::{PlaceRequest, StockRequest, StockResponse, inventory, orders};
use shop::{Bank, Disks};

fn load() -> Load {
    let sku = || rehearse::matching("apple|pear|plum");
    let place = (sku(), 1..4_i64, prop_oneof![Just(500), Just(200_000)])
        .prop_map(|(sku, quantity, cents)| PlaceRequest { sku, quantity, cents, ..Default::default() });
    let refused = Expect::ok().or(Code::FailedPrecondition); // Sold out or declined: right answers, too.
    Load::new(30, 400.ms(), 300.ms()..=900.ms())
        .rpc_with_id::<orders::Place>(Via::Rest, place, refused, |request, id| request.order = id)
        .rpc::<inventory::Stock>(Via::Rest, sku().prop_map(|sku| StockRequest { sku }), Expect::ok())
        .watch::<inventory::WatchStock>(sku().prop_map(|sku| StockRequest { sku }), Expect::ok())
}

/// How often an order was reserved, charged and released.
type Orders = BTreeMap<String, [u32; 3]>;

fn ledger(orders: &mut Orders, event: &Event) -> Result<(), String> {
    let Some(id) = event.text("order") else { return Ok(()) };
    let order = orders.entry(id.to_owned()).or_default();
    for (times, done) in order.iter_mut().zip(["reserved", "charged", "released"]) {
        // A line of the journal may be there after a restart, though nobody was told.
        *times = (*times + u32::from(event.says(done))).max(event.says(&format!("{done} before")).into());
    }
    let left = event.number("left").unwrap_or_default();
    match order {
        [0 | 1, 0, 0] | [1, 1, 0] | [1, 0, 1] if left >= 0 => Ok(()),
        wrong => Err(format!("{id} was reserved, charged and released {wrong:?} times; {left} are left")),
    }
}

fn watched((): &mut (), event: &Event) -> Result<(), String> {
    let Some(told) = event.told::<facts::StreamMessage>() else { return Ok(()) };
    let StockResponse { left } = told.message().ok_or("that is no stock")?;
    if (0..=10).contains(&left) { Ok(()) } else { Err(format!("{left} of ten are said to be left")) }
}

fn shop(name: &str, about: &str, swarm: Swarm) -> Scenario {
    Scenario::new(name, about, load(), swarm)
        .option("bank", &["5ms", "150ms"])
        .nodes(&["inventory", "payments", "orders"], |host| {
            let (host, bank) = (host.clone(), Bank::new(host.option("bank")));
            shop::app(Disks::new(move |name| Ok(Arc::new(host.disk(name)))), bank)
        })
        .promises(promises::of_calls())
        .fold("the ledger is right", ledger)
        .fold("watchers are told what can be", watched)
        .eventually("every order is settled", |orders: &Orders| {
            orders.values().all(|[reserved, charged, released]| *reserved == charged + released)
        })
}

fn main() -> ExitCode {
    let faults = || Swarm::new(1..=3, 350.ms(), 50.ms()..=600.ms()).everywhere();
    Runner::new(env!("CARGO_MANIFEST_DIR"))
        .scenario(shop("calm", "nothing goes wrong", Swarm::calm()))
        .scenario(shop("links", "the network breaks", faults().of_links()))
        .scenario(shop("restarts", "nodes drain", faults().only(&[Family::Drain])))
        .scenario(shop("disks", "disks fail", faults().only(&[Family::FailingDisk, Family::PowerLoss])))
        .scenario(shop("storm", "everything at once", faults()))
        .main()
}
