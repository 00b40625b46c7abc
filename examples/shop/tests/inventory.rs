//! The inventory in memory, as the actor that it is: no node, no network.

use std::collections::BTreeMap;
use std::sync::Arc;

use node::disk::Memory;
use rehearse::proptest::collection::vec;
use rehearse::proptest::prelude::*;
use shop::api::{ReleaseRequest, ReserveRequest, StockRequest, inventory};
use shop::{Bank, Disks};

#[derive(Debug, Clone)]
enum Step {
    Reserve(u8, i64),
    Release(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..5_u8, 1..6_i64).prop_map(|(order, quantity)| Step::Reserve(order, quantity)),
        1 => (0..5_u8).prop_map(Step::Release),
    ];
    vec(step, 0..40)
}

proptest! {
    #[test]
    fn what_is_left_and_what_is_reserved_are_ten_together(steps in steps()) {
        let disk = Memory::new();
        let disks = Disks::new(move |_| Ok(Arc::new(disk.clone())));
        let app = shop::app(disks, Bank::new(std::time::Duration::ZERO));
        rehearse::in_memory(app, async |inventory: inventory::Client| {
            let mut reserved = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Reserve(order, quantity) => {
                        let request = ReserveRequest { order: order.to_string(), sku: "pear".into(), quantity };
                        if inventory.reserve(request).await.is_ok() {
                            reserved.entry(order).or_insert(quantity);
                        }
                    }
                    Step::Release(order) => {
                        let request = ReleaseRequest { order: order.to_string() };
                        inventory.release(request).await.expect("what is reserved can be released");
                        reserved.remove(&order);
                    }
                }
                let left = inventory.stock(StockRequest { sku: "pear".into() }).await.expect("an answer").left;
                prop_assert!(left >= 0);
                prop_assert_eq!(left + reserved.values().sum::<i64>(), 10);
            }
            Ok(())
        })?;
    }
}
