//! Places orders: a saga over inventory and payments, which goes on when its caller has left, and after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use node::actix::{Actor, Context, Handler};
use node::tracing::info;
use node::{Call, CallContext, Code, Reply, RequestId, Result, Serve, State, Status};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::api::orders::{Orders, Place};
use crate::api::{ChargeRequest, PlaceRequest, PlaceResponse, ReleaseRequest, ReserveRequest};
use crate::api::{inventory, payments};
use crate::journal::{Journal, words_of_the_journal};

/// How long an order may take until it is settled. What is not by then goes on with the next start.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// How long to wait before a service is asked again of which nobody knows what it did.
const PAUSE: Duration = Duration::from_millis(100);

pub struct OrdersActor {
    /// Those that are not settled, and the request that each came with.
    open: BTreeMap<String, (RequestId, PlaceRequest)>,
    journal: Journal,
    saga: Saga,
}

impl OrdersActor {
    pub fn new(mut journal: Journal, inventory: inventory::Client, payments: payments::Client) -> Self {
        let mut open = BTreeMap::new();
        for line in journal.take_lines() {
            match &line.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["begun", id, order, sku, quantity, cents] => {
                    let number = |text: &str| text.parse().expect("the journal has numbers");
                    let (quantity, cents) = (number(quantity), number(cents));
                    let id = RequestId::parse(id.as_bytes()).expect("the journal has ids");
                    let (order, sku) = ((*order).to_owned(), (*sku).to_owned());
                    open.insert(order.clone(), (id, PlaceRequest { order, sku, quantity, cents }));
                }
                ["settled", order] => drop(open.remove(*order)),
                other => unreachable!("no line of the orders' journal: {other:?}"),
            }
        }
        Self { open, journal, saga: Saga { inventory, payments } }
    }

    fn begin(&mut self, id: RequestId, request: PlaceRequest) -> Result<()> {
        let PlaceRequest { order, sku, quantity, cents } = &request;
        self.journal.write(format_args!("begun {id} {order} {sku} {quantity} {cents}"))?;
        self.open.insert(order.clone(), (id, request));
        Ok(())
    }

    fn settle(&mut self, order: &str) -> Result<()> {
        self.journal.write(format_args!("settled {order}"))?;
        self.open.remove(order);
        info!(order, "settled");
        Ok(())
    }
}

impl Actor for OrdersActor {
    type Context = Context<Self>;

    /// Goes on with what an earlier process has left open.
    fn started(&mut self, actor: &mut Context<Self>) {
        let state = State::of(actor);
        for (id, request) in self.open.values().cloned() {
            let (saga, state) = (self.saga.clone(), state.clone());
            CallContext::resume(id, SETTLED_WITHIN, async move { saga.run(request, &state, drop).await });
        }
    }
}

impl Serve for OrdersActor {
    type Contract = Orders;
}

impl Handler<Call<Place>> for OrdersActor {
    type Result = Reply<Place>;

    fn handle(&mut self, call: Call<Place>, actor: &mut Context<Self>) -> Self::Result {
        let (saga, context) = (self.saga.clone(), call.context.clone());
        call.answer_with_state(actor, async move |state, request| {
            words_of_the_journal([&request.order, &request.sku])?;
            let id = context.request_id().clone();
            let (tell, told) = oneshot::channel();
            // Once this is written, the order is settled, whether or not its caller waits for it.
            context.spawn(SETTLED_WITHIN, async move {
                let tell = |outcome| drop(tell.send(outcome));
                let begun = request.clone();
                match state.with(move |orders| orders.begin(id, begun)).await.flatten() {
                    Ok(()) => saga.run(request, &state, tell).await,
                    Err(status) => tell(Err(status)),
                }
            })?;
            told.await.unwrap_or_else(|_| Err(Status::unavailable("the order is not settled yet")))
        })
    }
}

/// What it takes to settle an order.
#[derive(Clone)]
struct Saga {
    inventory: inventory::Client,
    payments: payments::Client,
}

impl Saga {
    /// Tells what comes of the order as soon as that is known. That it is settled must not be forgotten either, but nobody has
    /// to wait for that.
    async fn run(
        &self,
        request: PlaceRequest,
        state: &State<OrdersActor>,
        tell: impl FnOnce(Result<PlaceResponse>),
    ) {
        let order = request.order.clone();
        let outcome = self.reserve_and_charge(request).await;
        tell(outcome.map(|()| PlaceResponse { order: order.clone() }));
        let settled = || {
            let order = order.clone();
            async { state.with(move |orders| orders.settle(&order)).await? }
        };
        // What is not settled by the end of its time is so after the next start.
        until_known(settled).await.ok();
    }

    async fn reserve_and_charge(&self, request: PlaceRequest) -> Result<()> {
        let PlaceRequest { order, sku, quantity, cents } = request;
        let reserve = ReserveRequest { order: order.clone(), sku, quantity };
        until_known(|| self.inventory.reserve(reserve.clone())).await?;
        let charge = ChargeRequest { order: order.clone(), cents };
        let charged = until_known(|| self.payments.charge(charge.clone())).await;
        if let Err(declined) = charged {
            until_known(|| self.inventory.release(ReleaseRequest { order: order.clone() })).await?;
            return Err(declined);
        }
        Ok(())
    }
}

/// Calls until the answer is one that the service has given: all of these calls may be repeated.
async fn until_known<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    loop {
        match call().await {
            Err(status) if status.code() != Code::FailedPrecondition => sleep(PAUSE).await,
            known => return known,
        }
    }
}
