//! Three services: an inventory with state, payments that take their time, and orders, whose work outlives their calls.

mod bank;
mod inventory;
mod journal;
mod orders;
mod payments;

use node::App;

pub use bank::Bank;
pub use contracts::shop as api;
pub use inventory::InventoryActor;
pub use journal::Disks;
pub use orders::OrdersActor;
pub use payments::PaymentsActor;

mod contracts {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

/// All services of the shop. Each has state, so there is one of each in the node.
pub fn app(disks: Disks, bank: Bank) -> App {
    let (inventory, payments, orders) = (disks.clone(), disks.clone(), disks);
    App::new()
        .service_in_node(move |()| InventoryActor::new(inventory.journal("inventory")))
        .service_in_node(move |()| PaymentsActor::new(payments.journal("payments"), bank))
        .service_in_node(move |(inventory, payments)| {
            OrdersActor::new(orders.journal("orders"), inventory, payments)
        })
}
