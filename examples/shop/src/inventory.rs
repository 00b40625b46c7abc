//! What is in stock.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::{StreamExt as _, stream};
use node::actix::{Actor, Context, Handler};
use node::tracing::info;
use node::{Call, Reply, Result, Serve, Status, Streaming};
use tokio::sync::Notify;

use crate::api::inventory::{Inventory, Release, Reserve, Stock, WatchStock};
use crate::api::{ReserveRequest, StockResponse};
use crate::journal::{Journal, words_of_the_journal};

/// How much there is of each ware at first.
const AT_FIRST: i64 = 10;

pub struct InventoryActor {
    left: BTreeMap<String, i64>,
    reserved: BTreeMap<String, (String, i64)>,
    /// Whose orders are over: a saga that begins again after a restart must not reserve for them once more.
    released: BTreeSet<String>,
    journal: Journal,
    changed: Rc<Notify>,
}

impl InventoryActor {
    /// The inventory as its journal has it.
    pub fn new(mut journal: Journal) -> Self {
        let lines = journal.take_lines();
        let changed = Rc::default();
        let (left, reserved, released) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut inventory = Self { left, reserved, released, journal, changed };
        for line in lines {
            match &line.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["reserve", order, sku, quantity] => {
                    inventory.book(order, sku, quantity.parse().expect("the journal has numbers"));
                }
                ["release", order] => drop(inventory.unbook(order)),
                other => unreachable!("no line of an inventory's journal: {other:?}"),
            }
        }
        inventory
    }

    fn left(&self, sku: &str) -> i64 {
        self.left.get(sku).copied().unwrap_or(AT_FIRST)
    }

    fn book(&mut self, order: &str, sku: &str, quantity: i64) {
        self.left.insert(sku.to_owned(), self.left(sku) - quantity);
        self.reserved.insert(order.to_owned(), (sku.to_owned(), quantity));
        self.changed.notify_waiters();
    }

    fn unbook(&mut self, order: &str) -> Option<String> {
        let (sku, quantity) = self.reserved.remove(order)?;
        self.released.insert(order.to_owned());
        self.left.insert(sku.clone(), self.left(&sku) + quantity);
        self.changed.notify_waiters();
        Some(sku)
    }

    fn reserve(&mut self, ReserveRequest { order, sku, quantity }: ReserveRequest) -> Result<StockResponse> {
        words_of_the_journal([&order, &sku])?;
        self.journal.keep()?;
        if quantity <= 0 {
            return Err(Status::invalid_argument(format!("quantity {quantity}: expected one above zero")));
        }
        if self.reserved.contains_key(&order) {
            info!(order, "reserved before");
            return Ok(StockResponse { left: self.left(&sku) });
        }
        if self.released.contains(&order) {
            return Err(Status::failed_precondition(format!("{order} was declined")));
        }
        if self.left(&sku) < quantity {
            return Err(Status::failed_precondition(format!("{sku} is sold out")));
        }
        self.journal.write(format_args!("reserve {order} {sku} {quantity}"))?;
        self.book(&order, &sku, quantity);
        let left = self.left(&sku);
        info!(order, sku, left, "reserved");
        Ok(StockResponse { left })
    }

    fn release(&mut self, order: &str) -> Result<StockResponse> {
        self.journal.keep()?;
        if !self.reserved.contains_key(order) {
            if self.released.contains(order) {
                info!(order, "released before");
            }
            return Ok(StockResponse::default());
        }
        self.journal.write(format_args!("release {order}"))?;
        let sku = self.unbook(order).unwrap_or_default();
        info!(order, "released");
        Ok(StockResponse { left: self.left(&sku) })
    }
}

impl Actor for InventoryActor {
    type Context = Context<Self>;
}

impl Serve for InventoryActor {
    type Contract = Inventory;
}

impl Handler<Call<Reserve>> for InventoryActor {
    type Result = Reply<Reserve>;

    fn handle(&mut self, call: Call<Reserve>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|request| self.reserve(request))
    }
}

impl Handler<Call<Release>> for InventoryActor {
    type Result = Reply<Release>;

    fn handle(&mut self, call: Call<Release>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|request| self.release(&request.order))
    }
}

impl Handler<Call<Stock>> for InventoryActor {
    type Result = Reply<Stock>;

    fn handle(&mut self, call: Call<Stock>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|request| Ok(StockResponse { left: self.left(&request.sku) }))
    }
}

impl Handler<Call<WatchStock>> for InventoryActor {
    type Result = Reply<WatchStock>;

    fn handle(&mut self, call: Call<WatchStock>, actor: &mut Context<Self>) -> Self::Result {
        let (changed, context) = (self.changed.clone(), call.context.clone());
        call.answer_with_state(actor, async move |state, request| {
            let look = move || {
                let (state, sku) = (state.clone(), request.sku.clone());
                async move { state.with(move |inventory| inventory.left(&sku)).await }
            };
            let stock = stream::unfold(None, move |told| {
                let (changed, look) = (changed.clone(), look.clone());
                async move {
                    loop {
                        // Listening comes before looking, so that no change in between is missed.
                        let change = changed.notified();
                        match look().await {
                            Ok(left) if told == Some(left) => change.await,
                            left => {
                                return Some((left.clone().map(|left| StockResponse { left }), left.ok()));
                            }
                        }
                    }
                }
            });
            Ok(Streaming::local(stock.take_until(async move { context.drain_started().await })))
        })
    }
}
